"""Training: shards and batches, schedules, the optimizer's groups, the loop, checkpoints, trackers.

data = Crops(Tokens("data/train"), rows=16, length=128)
settings = Settings(steps=1000, schedule=WarmupCosine(3e-3, warmup=50, total=1000))
Trainer(MiniGPT(config), data, settings, folder="runs/first").run()
"""
