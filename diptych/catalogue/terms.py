"""The words the catalogue classifies with, and what each means.

Paradigms and encodings are those of the survey (arXiv 2505.02567); the meanings are in our own words.
"""

PARADIGMS = {
    "diffusion": "text and images are both written by denoising: the whole canvas is there from the start",
    "autoregressive": "one language model writes from left to right; what it wrote is decoded, or rendered outside it",
    "hybrid": "one network writes text from left to right and images by diffusion or flow within itself",
    "any-to-any": "more than text and images goes in and comes out: audio, video, actions",
}
ENCODINGS = {
    "none": "not classed by the survey: diffusion and any-to-any models",
    "pixel": "codes or latents that were learned by rebuilding pixels",
    "semantic": "features that were learned to agree with text; a decoder of its own turns them into pixels",
    "learnable-query": "queries, learned with the model, that gather what a generator is to draw",
    "hybrid-pseudo": "two encoders, one used a task: a semantic one to read, one of pixels to write",
    "hybrid-joint": "two encoders, both used at once: semantic and pixel features of the same image",
}
MECHANISMS = {
    "next-token": "one discrete code a position, from left to right",
    "multi-codebook-tokens": "several codes a position: residual or product codebooks",
    "next-scale": "a whole grid of codes at a time, from coarse to fine",
    "masked-discrete-diffusion": "all codes begin masked and are uncovered over some visits",
    "discrete-flow": "codes move along a probability path that need not begin with masks",
    "continuous-diffusion": "latents are denoised by predicting noise",
    "flow-matching": "latents follow a learned velocity from noise to image",
    "diffusion-head": "each token's vector is drawn by a small diffusion network on top of its hidden state",
    "external-diffusion-decoder": "a separate diffusion model renders what the language model emits",
}
ATTENTION = {
    "causal": "every token sees what stands before it",
    "bidirectional": "every token sees every other",
    "mixed": "text is causal, an image sees itself as a whole",
    "mot": "mixed, with weights of each modality's own that share their attention",
}
MODALITIES = {
    "text": "written language",
    "image": "still pictures",
    "video": "moving pictures",
    "audio": "speech, sounds, music",
    "action": "moves of a robot or an agent",
}
TASKS = {
    "understand": "answers about images",
    "generate": "draws from a description",
    "edit": "changes an image as told",
    "interleave": "writes text and images in turn",
    "video": "reads or writes video",
    "audio": "reads or writes audio",
    "action": "predicts actions",
    "ground": "points at what is meant",
    "perceive": "predicts depth, edges or masks",
    "retrieve": "finds images in a collection",
}
BENCHMARK_TASKS = {
    "understanding": "answers about images",
    "generation": "images from descriptions",
    "editing": "changes of images",
    "interleaved": "text and images in turn",
    "unified": "understanding and generation of one model together",
}
SECTIONS = {
    "understanding": "images with texts to learn to read from",
    "text-to-image": "images with captions to learn to draw from",
    "editing": "an image, an instruction, the changed image",
    "interleaved": "documents of texts and images",
    "other": "text and images to image: subjects, conditions, references",
}
PRECISIONS = {"day": "YYYY-MM-DD", "month": "YYYY-MM"}
