//! Examples at the end of each command's help; a test reads every line of them as the command line does.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

pub(super) const SMELT: &str = "\
Examples:
  smelt generate \"a red heart\"
  smelt doctor
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15
  smelt generate \"a lighthouse at dusk, oil painting\" -m sd15 -o lighthouse.png
  smelt help generate";

pub(super) const CONVERT: &str = "\
Examples:
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15
  smelt convert hf:stable-diffusion-v1-5/stable-diffusion-v1-5 -o sd15
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15-gpu --attention original
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15-6bit --quantize-nbits 6 --chunk-unet
  smelt convert ~/models/stable-diffusion-v1-5 -o sizes --size 512x512,512x768 --target macOS15
  smelt convert ~/models/stable-diffusion-v1-5 -o both --unet-batches 1,2 --target macOS15
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15-mac --bundle --zip
  smelt convert dreamshaper.safetensors -o dream
  smelt convert ~/models/stable-diffusion-v1-5 -o sd15-pixel --lora pixel-art.safetensors:0.8
  smelt convert RealESRGAN_x4plus.pth -o upscalers --size 256
  smelt convert projection.pt -o sd15 --component multilingual-projection";

pub(super) const DOWNLOAD: &str = "\
Examples:
  smelt download hf:stable-diffusion-v1-5/stable-diffusion-v1-5
  smelt download hf:stabilityai/stable-diffusion-xl-base-1.0 --variant fp16 --component unet,vae-decoder
  smelt download hf:stabilityai/sd-vae-ft-mse-original/vae-ft-mse-840000-ema-pruned.safetensors
  smelt download hf:apple/coreml-stable-diffusion-v1-5@main/split_einsum/packages
  smelt download hf:stabilityai/sd-turbo --offline --json";

pub(super) const GENERATE: &str = "\
Examples:
  smelt generate \"a red heart\" --show
  smelt generate \"a red heart\" -m sd15 -o heart.png
  smelt generate \"a house\" -m sd15 -o house.png --image sketch.png --strength 0.6
  smelt generate \"a house\" -m sd15 -o house.png --controlnet canny --control-image photo.png --control-preprocess canny
  smelt generate \"a house\" -m sd15 -o house.png --negative-prompt \"trees\" --steps 30 --seed 7
  smelt generate \"a house\" -m ~/models/stable-diffusion-v1-5 -o house.png --size 512x768 --seed random
  smelt generate \"a house\" -m sd15 -o house.png --count 4 --grid houses.png --show
  smelt generate \"a (red:1.3) house, [morning:night:0.5]\" -m sd15 -o house.png
  smelt generate \"a house\" -m sd15 -o house.png --preview every:5 --seed 1..5
  smelt generate --prompts prompts.txt -m sd15
  smelt generate \"a {red|blue} __thing__\" -m sd15 --wildcards words --count 6
  smelt generate \"a red house\" -m sd15 -o house.png --x prompt=red,blue --y guidance=4,8
  smelt generate \"a house\" -m xl -o house.png --refiner xl --refiner-start 0.8 --size 1024
  smelt generate --like theirs.png -m sd15 -o ours.png
  smelt generate --like house.png --seed random -m sd15
  smelt generate \"a house\" -m apples-packages --tokenizer checkpoint/tokenizer -o house.png";

pub(super) const SERVE: &str = "\
Examples:
  smelt serve
  smelt serve --models ~/models --lora-dir ~/loras --keep ~/Pictures/smelt
  smelt serve --models ~/models -m dreamshaper --memory 12G --cancel-on-disconnect
  smelt serve --models ~/models --listen 0.0.0.0:7860 --api-key \"a long secret\" --host studio.local";

pub(super) const APP: &str = "\
Examples:
  smelt app
  smelt app --models ~/models";

pub(super) const RUN: &str = "\
Examples:
  smelt run unet.mlpackage --inputs in.safetensors --outputs out.safetensors
  smelt run unet.mlpackage --inputs in.safetensors --outputs out.safetensors --rounding declared";

pub(super) const INSPECT: &str = "\
Examples:
  smelt inspect unet.mlpackage
  smelt inspect unet.mlpackage --weights --sort size
  smelt inspect unet.mlpackage --mil
  smelt inspect pixel-art.safetensors --against ~/models/stable-diffusion-v1-5
  smelt inspect dreamshaper.safetensors
  smelt inspect dreamshaper.safetensors --hashes
  smelt inspect sd15-mac
  smelt inspect packages --hashes --source dreamshaper.safetensors
  smelt inspect unet.mlpackage --json";

pub(super) const COMPRESS: &str = "\
Examples:
  smelt compress unet.mlpackage -o unet6.mlpackage --bits 6
  smelt compress models -o models4 --bits 4 --granularity channels --group-size 16 --target macOS15
  smelt compress unet.mlpackage -o unet8.mlpackage --mode linear-symmetric --dtype int8
  smelt compress unet.mlpackage -o sparse.mlpackage --sparsity 0.5 --mode kmeans --bits 4 --target macOS15
  smelt compress unet.mlpackage -o mixed.mlpackage --config recipe.json --report mixed.html
  smelt compress sd15 -o sd15-small --fit 900MB
  smelt compress unet.mlpackage -o unet4.mlpackage --mean-bits 4.04 --analysis unet.json
  smelt compress unet.mlpackage -o unet30.mlpackage --psnr 30 --analysis unet.json --schemes 2,4,6,8,4g16 --target macOS15
  smelt compress models -o models4 --bits 4 --calibration sd15.safetensors
  smelt compress Unet.mlmodelc -o unet.mlpackage";

pub(super) const CALIBRATE: &str = "\
Examples:
  smelt calibrate -o demo.safetensors
  smelt calibrate --model sd15 -o sd15.safetensors
  smelt calibrate --model sd15 -o mine.safetensors --prompts prompts.txt --samples 64 --steps 25
  smelt calibrate --model sd15 -o judge.safetensors --held-out --seed 100";

pub(super) const ANALYSE: &str = "\
Examples:
  smelt analyse unet.mlpackage --calibration sd15.safetensors -o analysis.json
  smelt analyse sd15 --calibration sd15.safetensors -o analysis.json --schemes 2,4,6,8
  smelt analyse unet.mlpackage -o 1.json --shard 1/2
  smelt analyse --merge 1.json 2.json -o analysis.json";

pub(super) const QUANTIZE: &str = "\
Examples:
  smelt quantize sd15/X_unet.mlpackage -o small/X_unet.mlpackage --calibration sd15.safetensors
  smelt quantize unet.mlpackage -o w8a8.mlpackage --calibration sd15.safetensors --psnr 35
  smelt quantize unet.mlpackage -o w8a8.mlpackage --calibration sd15.safetensors --share 0.8 --ranges percentile";

pub(super) const REPORT: &str = "\
Examples:
  smelt report sd15 sd15-small -o report.html
  smelt report sd15 sd15-small -o report.html --prompts prompts.txt --steps 25 --seed 7";

pub(super) const RECIPE: &str = "\
Examples:
  smelt recipe unet.json -o recipes.json --plot front.svg
  smelt recipe unet.json --mean-bits 4.04 -o recipe.json
  smelt recipe unet.json --psnr 30 --schemes 2,4,6,8,4g16 -o recipe.json
  smelt recipe unet.json --form apple -o palettization_recipe.json";

pub(super) const COMPILE: &str = "\
Examples:
  smelt compile unet.mlpackage -o compiled
  smelt compile sd15 -o Resources";

pub(super) const CHUNK: &str = "\
Examples:
  smelt chunk unet.mlpackage -o parts --check
  smelt chunk unet.mlpackage -n 3 -o parts
  smelt chunk unet.mlpackage -o parts --max-bytes 1GB
  smelt chunk unet.mlpackage -o parts --pipeline";

pub(super) const BENCH: &str = "\
Examples:
  smelt bench sd15
  smelt bench unet.mlpackage --runs 10 --profile
  smelt bench unet.mlpackage --svg profile.svg --compute bf16
  smelt bench --table sd15 --json";

pub(super) const VERIFY: &str = "\
Examples:
  smelt verify unet.mlpackage --against ~/models/stable-diffusion-v1-5
  smelt verify unet6.mlpackage --against unet.mlpackage --min-psnr 30";

pub(super) const COMPARE: &str = "\
Examples:
  smelt compare before.png after.png
  smelt compare before.png after.png --min-psnr 40
  smelt compare float16.png 6bit.png 4bit.png --grid sheet.png --captions \"16 bits,6 bits,4 bits\" --psnr
  smelt compare house-1.png house-2.png --show";

pub(super) const METADATA: &str = "\
Examples:
  smelt metadata picture.png
  smelt metadata *.png *.jpg *.webp
  smelt metadata picture.png --json";

pub(super) const UPSCALE: &str = "\
Examples:
  smelt upscale heart.png --model RealESRGAN_x4plus.pth -o large.png
  smelt upscale photo.jpg --model RealESRGAN_x4plus.pth --scale 2 -o twice.png
  smelt upscale a.png b.png c.png --model upscalers -o large
  smelt upscale photo.jpg --model 4x-UltraSharp.pth --tile 512 --overlap 48 -o large.png";

pub(super) const TOKENS: &str = "\
Examples:
  smelt tokens \"a (red:1.3) heart, [sketch:oil painting:0.5]\"
  smelt tokens \"a fox BREAK in snow\" -m sd15
  smelt tokens - -m sd15 --emphasis compel";

pub(super) const DOCTOR: &str = "\
Examples:
  smelt doctor
  smelt doctor --quick
  smelt doctor --json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  smelt completions bash > ~/.local/share/bash-completion/completions/smelt
  smelt completions zsh > ~/.zfunc/_smelt
  smelt completions fish > ~/.config/fish/completions/smelt.fish";

pub(super) const MAN: &str = "\
Examples:
  smelt man > smelt.1
  smelt man -o ~/.local/share/man/man1";

/// Adds an example to the message about a missing argument, or how a bundle's form is said, so that the next try is the right
/// one.
pub(crate) fn with_example(mut error: clap::Error, args: impl IntoIterator<Item = OsString>) -> clap::Error {
    let args: Vec<OsString> = args.into_iter().skip(1).collect();
    let hint = match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let smelt = super::Cli::command();
            let command = args.iter().find_map(|arg| smelt.find_subcommand(arg));
            command
                .and_then(|command| lines(command).into_iter().next())
                .map(|example| format!("for example: {example}"))
        }
        ErrorKind::UnknownArgument => form_apart(&args),
        _ => None,
    };
    if let Some(hint) = hint {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    error
}

/// Says how to spell a bundle's form that stands apart from its option.
fn form_apart(args: &[OsString]) -> Option<String> {
    let form = args.windows(2).find(|pair| pair[0] == "--bundle").and_then(|pair| pair[1].to_str())?;
    super::bundle_form(form).is_ok().then(|| format!("--bundle takes its form behind an equals sign: --bundle={form}"))
}

/// The examples of a command.
fn lines(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned);
    lines.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    /// Words as a shell splits them, up to a redirection; double quotes hold words together.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut is_quoted) = (vec![String::new()], false);
        for char in line.chars() {
            match char {
                '"' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                '<' | '>' => break,
                other => words.last_mut().unwrap().push(other),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn every_command_has_examples_and_the_command_line_takes_them() {
        let smelt = Cli::command();
        for command in smelt.get_subcommands().chain([&smelt]) {
            let examples = lines(command);
            assert!(examples.len() >= 2, "{} has {} examples", command.get_name(), examples.len());
            for line in examples {
                let words = words(&line);
                assert!(command.get_name() == "smelt" || words[1] == command.get_name(), "{line}");
                if let Err(error) = Cli::try_parse_from(&words) {
                    assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_missing_argument_is_answered_with_an_example() {
        let said = |args: &[&str]| {
            let error = Cli::try_parse_from(args).unwrap_err();
            with_example(error, args.iter().map(OsString::from)).to_string()
        };
        let message = said(&["smelt", "chunk", "x.mlpackage"]);
        assert!(
            message.contains("--output") && message.contains("for example: smelt chunk unet.mlpackage -o"),
            "{message}"
        );
        assert!(!said(&["smelt", "chunk", "-n", "0"]).contains("for example"));
    }
    #[test]
    fn a_bundle_takes_no_form_apart_from_its_option() {
        let read = |args: &[&str]| Cli::try_parse_from(["smelt", "convert", "-o", "d"].iter().chain(args));
        for args in [&["--bundle", "sd15"][..], &["sd15", "--bundle"], &["--bundle=packages", "sd15"]] {
            assert!(read(args).is_ok(), "{args:?}");
        }
        for args in [&["sd15", "--bundle", "packages"][..], &["--bundle", "packages", "sd15"]] {
            let all = ["smelt", "convert", "-o", "d"].iter().chain(args).map(OsString::from);
            let message = with_example(read(args).unwrap_err(), all).to_string();
            assert!(message.contains("--bundle=packages"), "{message}");
        }
    }
}
