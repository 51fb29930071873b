"""Trains the demo model's UNet and text encoder together, on the latents of the learned pictures.

    python train_unet.py DATA OUT SECONDS

Needs OUT/vae.pt and goes on from OUT/unet.pt. The learning rate follows the time spent, as in train_vae.py.
"""

import copy
import random
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from transformers import CLIPTokenizer

import common

BATCH, PEAK_RATE, WARM_UP = 32, 1e-3, 200
EMA = 0.998
SNR_LIMIT = 5.0
EMPTY, TAGS, NAME_AND_TAG = 0.10, 0.15, 0.10  # shares of captions

PROBES = [
    "a red heart", "a rocket", "a penguin", "a hamburger", "smiling face with sunglasses", "a strawberry", "a guitar",
    "a house", "a lion", "a sunflower", "a red apple", "a snowman", "a bicycle", "a ghost", "an octopus", "a key",
]


def caption(record):
    """A name as somebody may write it, some of its tags, a name with a tag, or nothing."""
    name, tags = record["name"], record["tags"]
    kind = random.random()
    if kind < EMPTY:
        return ""
    if kind < EMPTY + TAGS and tags:
        return " ".join(random.sample(tags, min(len(tags), random.randint(2, 4))))
    article = "an" if name[0].lower() in "aeiou" else "a"
    text = random.choice([name, f"{article} {name}", f"{article} {name}", f"an emoji of {article} {name}"])
    if kind > 1 - NAME_AND_TAG and tags:
        text += random.choice([", ", " "]) + random.choice(tags)
    return text


@torch.no_grad()
def latents_of(vae, pictures):
    """Latents of each picture, standardised by channel, and the standardisation."""
    parts = pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1).split(32)
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in parts])
    mean, std = latents.mean((0, 2, 3), keepdim=True), latents.std((0, 2, 3), keepdim=True)
    return (latents - mean) / std, mean, std


def tokens(tokenizer, texts):
    return tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def sample(unet, text, tokenizer, scheduler, prompts, guidance=4.0, steps=25, seed=0):
    scheduler.set_timesteps(steps)
    x = torch.randn(len(prompts), 4, common.LATENT, common.LATENT, generator=torch.Generator().manual_seed(seed))
    states = text(tokens(tokenizer, [""] * len(prompts) + prompts)).last_hidden_state
    for t in scheduler.timesteps:
        empty, named = unet(torch.cat([x, x]), t, encoder_hidden_states=states).sample.chunk(2)
        x = scheduler.step(empty + guidance * (named - empty), t, x).prev_sample
    return x


@torch.no_grad()
def draw(path, vae, x, columns):
    y = torch.cat([vae.decode(part).sample for part in x.split(16)]).clamp(-1, 1)
    rows = len(y) // columns
    grid = y.view(rows, columns, *y.shape[1:]).permute(0, 3, 1, 4, 2)
    grid = grid.reshape(rows * common.SIZE, columns * common.SIZE, 3)
    Image.fromarray(grid.add(1).mul(127.5).round().byte().numpy()).save(path)


def main():
    data, out, budget = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    torch.manual_seed(2)
    random.seed(2)
    pictures, names = common.load_data(data)
    learned = [i for i, name in enumerate(names) if name["learned"]]
    records = [names[i] for i in learned]
    vae = common.vae()
    vae.load_state_dict(torch.load(out / "vae.pt")["model"])
    vae.eval()
    latents, mean, std = latents_of(vae, pictures[learned])
    tokenizer = CLIPTokenizer.from_pretrained(data / "tokenizer")
    scheduler = DDIMScheduler(**common.SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    alphas = scheduler.alphas_cumprod
    snr = alphas / (1 - alphas)

    unet, text = common.unet().to(memory_format=torch.channels_last), common.text_encoder(tokenizer)
    unet.set_attn_processor(AttnProcessor())  # in bf16 its gradient takes half of the fused one's time here
    parameters = [*unet.parameters(), *text.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
    means = [copy.deepcopy(unet), copy.deepcopy(text)]
    step, spent = 0, 0.0
    if (path := out / "unet.pt").is_file():
        state = torch.load(path)
        unet.load_state_dict(state["unet"])
        text.load_state_dict(state["text"])
        means[0].load_state_dict(state["unet_mean"])
        means[1].load_state_dict(state["text_mean"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
    clock = common.Clock(out / "unet.jsonl", spent)
    running, order = None, torch.empty(0, dtype=torch.long)

    def checkpoint():
        state = {"unet": unet.state_dict(), "text": text.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"unet_mean": means[0].state_dict(), "text_mean": means[1].state_dict(), "mean": mean, "std": std}
        common.save(out / "unet.pt", state | {"step": step, "spent": clock.spent()})
        x = sample(*means, tokenizer, scheduler, PROBES)
        draw(out / "unet.png", vae, x * std + mean, 8)

    while clock.spent() < budget:
        progress = torch.tensor(torch.pi * clock.spent() / budget)
        rate = PEAK_RATE * min(1, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + torch.cos(progress).item()))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if len(order) < BATCH:
            order = torch.cat([order, torch.randperm(len(records))])
        chosen, order = order[:BATCH], order[BATCH:]
        x = latents[chosen]
        # One time from each of BATCH equal parts of the schedule: every batch sees all noise levels.
        t = ((torch.arange(BATCH) + torch.rand(BATCH)) / BATCH * 1000).long()
        noise = torch.randn_like(x)
        a, s = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
        noisy = (a * x + s * noise).contiguous(memory_format=torch.channels_last)
        ids = tokens(tokenizer, [caption(records[i]) for i in chosen])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            velocity = unet(noisy, t, encoder_hidden_states=text(ids).last_hidden_state).sample.float()
        # Errors of the clean latent count `1 + snr` times as they do for velocities, but no more than with the limit:
        # what noise hides comes from the text alone, and that is what must be learned.
        weight = ((SNR_LIMIT + 1) / (snr[t] + 1)).clamp(max=1)
        error = (velocity - (a * noise - s * x)).square().mean((1, 2, 3))
        loss = (weight * error).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for source, target in zip((unet, text), means):
                for new, old in zip(source.parameters(), target.parameters()):
                    old.lerp_(new, 1 - decay)
        step += 1
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 50 == 0:
            clock.log(step=step, loss=running, pictures_per_second=step * BATCH / clock.spent())
        if step % 300 == 0:
            checkpoint()
    checkpoint()


main()
