"""Random models of transformers' own classes, small enough for tests, saved as their publishers do."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BlipConfig,
    BlipForQuestionAnswering,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PreTrainedTokenizerFast,
    SwinConfig,
)

WORDS = [
    *("a", "an", "the", "photo", "of", "depicts", "dog", "cat", "is", "there", "red", "blue", "yes", "no", "Yes", "No"),
    *(
        "does",
        "this",
        "figure",
        "show",
        "please",
        "answer",
        "or",
        ".",
        "?",
        ":",
        ",",
        "Please",
        "Is",
        "user",
        "<image>",
    ),
]
SAID = "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
SAID += "{{ '<image>' if c['type'] == 'image' else c['text'] }} {% endfor %}{% endfor %}"
COCO = ["person", "mouse", "bench"]


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    made = PreTrainedTokenizerFast(tokenizer_object=fast, additional_special_tokens=["<image>"], **names)
    made.save_pretrained(folder)
    return made


def clip(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {
        "vocab_size": 64,
        "max_position_embeddings": 12,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = sizes | {"image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    tokenizer(folder)
    return folder


def blip(folder: Path) -> Path:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {
        "vocab_size": 64,
        "encoder_hidden_size": 16,
        "max_position_embeddings": 32,
        "bos_token_id": 2,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    vision = sizes | {"image_size": 16, "patch_size": 8}
    BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    tokenizer(folder)
    return folder


def llava(folder: Path) -> Path:
    """A model that chats about pictures."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = sizes | {"model_type": "clip_vision_model", "image_size": 16, "patch_size": 8}
    text = sizes | {"model_type": "llama", "vocab_size": 64, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    words = tokenizer(folder)
    image = words.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=image, vision_feature_layer=-1)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    LlavaProcessor(
        pictures,
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=SAID,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    return folder


def mask2former(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=32,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        id2label=dict(enumerate(COCO)),
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    return folder


def pickled(folder: Path) -> Path:
    """A folder whose weights are no safetensors."""
    clip(folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    return folder


def with_code(folder: Path, canary: Path) -> Path:
    """A folder that asks for its own code to be run, which would write the canary."""
    clip(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_own.Own", "AutoConfig": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_own.py").write_text(f"open({str(canary)!r}, 'w').close()\nclass Own: pass\n")
    return folder
