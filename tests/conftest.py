"""Settings for all tests: one thread, so that results and timings of parallel runs do not disturb each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis

hypothesis.settings.register_profile("diptych", deadline=None, max_examples=50, derandomize=True, database=None)
hypothesis.settings.load_profile("diptych")
