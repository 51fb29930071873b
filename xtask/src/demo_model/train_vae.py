"""Trains the demo model's VAE, then its decoder alone.

    python train_vae.py DATA OUT SECONDS [decoder]

Goes on from OUT/vae.pt. The learning rate follows the time spent, so that the schedule ends with SECONDS however busy
the machine is. With `decoder` the encoder stays as it is, for a UNet is being trained on its latents, and the decoder
learns to bear a little noise in them.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

import common

BATCH, PEAK_RATE, WARM_UP = 16, 1.5e-3, 100
KL_WEIGHT = 2e-4
DECODER_NOISE = 0.05  # of the latents' standard deviation


def batch_of(pictures, weights, augment):
    chosen = pictures[torch.multinomial(weights, BATCH, replacement=True)]
    x = chosen.permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
    if not augment:
        return x
    for i in range(BATCH):
        if torch.rand(()) < 0.5:
            x[i] = x[i].flip(-1)
        if torch.rand(()) < 0.2:
            x[i] = x[i][torch.randperm(3)]
        if torch.rand(()) < 0.5:
            x[i] = x[i].roll((int(torch.randint(-4, 5, ())), int(torch.randint(-4, 5, ()))), (-2, -1))
    return x


def reconstruction_loss(y, x):
    """Differences of pixels, of neighbours (edges) and of the picture at a quarter of its size (colours)."""
    difference = y - x
    edges = (difference[..., 1:] - difference[..., :-1]).abs().mean() + (
        difference[..., 1:, :] - difference[..., :-1, :]
    ).abs().mean()
    return difference.abs().mean() + difference.square().mean() + F.avg_pool2d(difference, 4).abs().mean() + edges


@torch.no_grad()
def evaluate(model, pictures, path):
    """PSNR in dB of the first 64 learned pictures, and a grid of pairs."""
    x = pictures[:: max(1, len(pictures) // 64)][:64].permute(0, 3, 1, 2).float().div(127.5).sub(1)
    y = torch.cat([model(part).sample for part in x.split(16)]).clamp(-1, 1)
    psnr = (10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)))).mean().item()
    pairs = torch.stack([x[:32], y[:32]], 1).flatten(0, 1)
    grid = pairs.view(8, 8, *pairs.shape[1:]).permute(0, 3, 1, 4, 2).reshape(8 * common.SIZE, 8 * common.SIZE, 3)
    Image.fromarray(grid.add(1).mul(127.5).round().byte().numpy()).save(path)
    return psnr


def main():
    data, out, budget = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    decoder_only = sys.argv[4:] == ["decoder"]
    torch.manual_seed(1)
    out.mkdir(parents=True, exist_ok=True)
    pictures, names = common.load_data(data)
    learned = torch.tensor([name["learned"] for name in names])
    weights = torch.where(learned, 1.0 / learned.sum(), 0.5 / (~learned).sum())

    model = common.vae().to(memory_format=torch.channels_last)
    stage = "decoder" if decoder_only else "vae"
    parameters = list(model.parameters())
    if decoder_only:
        model.load_state_dict(torch.load(out / "vae.pt")["model"])
        parameters = list(model.decoder.parameters())
        weights = torch.where(learned, 1.0 / learned.sum(), 0.1 / (~learned).sum())
    rate = PEAK_RATE * (0.5 if decoder_only else 1)
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    step, spent = 0, 0.0
    if (path := out / f"{stage}.pt").is_file():
        state = torch.load(path)
        if "optimizer" in state:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            step, spent = state["step"], state["spent"]
    clock = common.Clock(out / f"{stage}.jsonl", spent)
    scale = None
    while clock.spent() < budget:
        progress = clock.spent() / budget
        warm = min(1, (step + 1) / WARM_UP)
        for group in optimizer.param_groups:
            group["lr"] = rate * warm * (0.02 + 0.98 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress)).item()))
        x = batch_of(pictures, weights, augment=not decoder_only)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if decoder_only:
                with torch.no_grad():
                    z = model.encode(x).latent_dist.mean
                    scale = z.std() if scale is None else scale
                    z = z + DECODER_NOISE * scale * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)
                kl = 0.0
            else:
                posterior = model.encode(x).latent_dist
                z = posterior.sample()
                kl = posterior.kl().mean() / z[0].numel()
            y = model.decode(z).sample
        loss = reconstruction_loss(y.float(), x) + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 200 == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            common.save(out / f"{stage}.pt", state | {"spent": clock.spent()})
            psnr = evaluate(model, pictures[learned], out / f"{stage}.png")
            clock.log(step=step, loss=loss.item(), psnr=psnr, latent_std=z.float().std().item())
    psnr = evaluate(model, pictures[learned], out / f"{stage}.png")
    clock.log(step=step, psnr=psnr)
    common.save(out / f"{stage}.pt", {"model": model.state_dict(), "step": step, "spent": clock.spent()})


main()
