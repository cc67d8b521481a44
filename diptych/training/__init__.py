"""Training: a loop for any task, checkpoints that survive crashes, recipes that say what to train.

`diptych.training.loop.train(task, settings, folder)` trains; `diptych.training.recipes.run(path)` reads a TOML recipe
and does the same.
"""
