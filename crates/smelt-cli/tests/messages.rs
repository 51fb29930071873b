//! What the command says when something is not as it should be: every message in one text, `messages.txt`, to be read from
//! top to bottom and judged as a whole. `UPDATE_EXPECT=1 cargo test --test messages` writes it anew.
//!
//! The inputs are small and made here; what the commands write is compared elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::command;
use common::made::{self, Made, UNET, VAE, put};
use sd_runtime::image::{PngText, RgbImage};
use serde_json::json;

/// A situation of people, and the commands that they type in it.
struct Situation {
    title: &'static str,
    make: fn(&Path),
    commands: &'static [&'static str],
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d4d\nsize 3438167536\n";
const HASH: &str = "39593d5650112b4cc580433f6b0435385882d819";
const DIFFUSERS: &str = "diffusion_pytorch_model";

fn demo(dir: &Path, name: &str) -> Made {
    Made::demo(dir.join(name))
}

/// A safetensors file with one tensor under each of these keys.
fn safetensors(path: &Path, keys: &[&str]) {
    let tensor = || (safetensors::Dtype::F16, vec![1], vec![0, 0]);
    made::write(path, &keys.iter().map(|key| ((*key).to_owned(), tensor())).collect());
}

/// A grey picture.
fn sketch(path: &Path, value: u8) {
    let image = RgbImage::new(64, 64, vec![value; 3 * 64 * 64]).unwrap();
    image.write_png(fs::File::create(path).unwrap(), &[]).unwrap();
}

const SITUATIONS: &[Situation] = &[
    Situation {
        title: "nothing there",
        make: |_| {},
        commands: &[
            "convert runwayml/sd15 -o out",
            "generate cat -m sd15 -o a.png",
            "inspect unet.mlpackage",
            "verify unet.mlpackage --against sd15",
            "generate cat -o missing/a.png",
        ],
    },
    Situation {
        title: "upscalers of other kinds, and what is none",
        make: |dir| {
            sketch(&dir.join("small.png"), 90);
            let shape = |shape: &[usize]| {
                (safetensors::Dtype::F16, shape.to_vec(), vec![0; 2 * shape.iter().product::<usize>()])
            };
            let write = |name: &str, tensors: &[(&str, &[usize])]| {
                let tensors = tensors.iter().map(|(key, own)| ((*key).to_owned(), shape(own)));
                made::write(&dir.join(name), &tensors.collect());
            };
            write(
                "swinir.safetensors",
                &[("layers.0.residual_group.blocks.0.attn.relative_position_bias_table", &[1])],
            );
            write("compact.safetensors", &[("body.0.weight", &[2, 3, 3, 3]), ("body.1.weight", &[2])]);
            write(
                "esrgan.safetensors",
                &[("conv_first.weight", &[2, 3, 3, 3]), ("body.0.rdb1.conv1.weight", &[1, 2, 3, 3])],
            );
            write("other.safetensors", &[("x", &[1])]);
            put(&dir.join("other.pth"), b"\x80\x02}q\x00.");
        },
        commands: &[
            "upscale small.png -m swinir.safetensors -o large.png",
            "convert compact.safetensors -o out",
            "inspect compact.safetensors",
            "upscale small.png -m esrgan.safetensors -o large.png",
            "upscale small.png -m other.safetensors -o large.png",
            "upscale small.png -m other.pth -o large.png",
            "upscale small.png -m nothing.pth -o large.png",
            "upscale small.png -m . -o large.png",
            "upscale small.png small.png -m esrgan.safetensors -o large.png",
            "upscale other.pth -m esrgan.safetensors -o large.tiff",
        ],
    },
    Situation {
        title: "a single file, and a folder of them",
        make: |dir| {
            safetensors(&dir.join("models/dream.safetensors"), &["model.diffusion_model.input_blocks.0.0.weight"]);
            put(&dir.join("models/dream.ckpt"), b"PK\x03\x04");
            put(&dir.join("old.ckpt"), b"\x80\x02}q\x00");
        },
        commands: &[
            "convert models/dream.safetensors -o out",
            "convert models/dream.ckpt -o out",
            "convert old.ckpt -o out",
            "convert models -o out",
            "generate cat -m models/dream.safetensors -o a.png",
            "inspect models/dream.safetensors",
        ],
    },
    Situation {
        title: "other files",
        make: |dir| {
            safetensors(&dir.join("style.safetensors"), &["lora_unet_down_blocks_0.lora_down.weight"]);
            safetensors(&dir.join("toy.safetensors"), &["emb_params"]);
            safetensors(&dir.join("control.safetensors"), &["control_model.zero_convs.0.0.weight"]);
            safetensors(&dir.join("vae.safetensors"), &["first_stage_model.decoder.conv_in.weight"]);
            put(&dir.join("model.zip"), b"PK\x03\x04");
            put(&dir.join("page.safetensors"), b"<!DOCTYPE html><html>");
            put(&dir.join("cut.safetensors"), b"\x80\x1f");
            put(&dir.join("pointer.safetensors"), POINTER);
            put(&dir.join("notes.txt"), b"hello");
        },
        commands: &[
            "convert style.safetensors -o out",
            "convert toy.safetensors -o out",
            "convert control.safetensors -o out",
            "convert vae.safetensors -o out",
            "convert model.zip -o out",
            "convert page.safetensors -o out",
            "convert cut.safetensors -o out",
            "convert pointer.safetensors -o out",
            "generate cat -m notes.txt -o a.png",
        ],
    },
    Situation {
        title: "one component, in a repository of its own or inside of a checkpoint",
        make: |dir| {
            demo(dir, "sd");
            made::copy(&dir.join("sd/vae"), &dir.join("sd-vae-ft-mse"));
            for (name, class) in [("taesd", "AutoencoderTiny"), ("canny", "ControlNetModel"), ("mm", "MotionAdapter")] {
                put(&dir.join(name).join("config.json"), json!({ "_class_name": class }).to_string());
            }
            put(&dir.join("lora/adapter_config.json"), "{}");
        },
        commands: &[
            "convert sd-vae-ft-mse -o out",
            "convert taesd -o out",
            "convert canny -o out",
            "convert mm -o out",
            "convert lora -o out",
            "convert sd/unet -o out",
            "generate cat -m sd/vae -o a.png",
            "convert sd/scheduler -o out",
        ],
    },
    Situation {
        title: "checkpoints of other families, and parts that are others",
        make: |dir| {
            demo(dir, "xl").json("model_index.json", |index| {
                index["_class_name"] = "StableDiffusionXLPipeline".into();
                index["text_encoder_2"] = json!(["transformers", "CLIPTextModelWithProjection"]);
            });
            demo(dir, "sd3").without("unet").json("model_index.json", |index| {
                index["_class_name"] = "StableDiffusion3Pipeline".into();
                index["transformer"] = json!(["diffusers", "SD3Transformer2DModel"]);
                index["unet"] = json!([null, null]);
            });
            for (name, class) in [("flux", "FluxPipeline"), ("depth", "StableDiffusionDepth2ImgPipeline")] {
                demo(dir, name).json("model_index.json", |index| index["_class_name"] = class.into());
            }
            put(&dir.join("model.gguf"), "GGUF");
            put(&dir.join("model.aimodel/weights"), "");
            demo(dir, "tae").json("vae/config.json", |config| config["_class_name"] = "AutoencoderTiny".into());
            demo(dir, "onnx").json("model_index.json", |index| {
                index["unet"] = json!(["diffusers", "OnnxRuntimeModel"]);
            });
            demo(dir, "alt").json("text_encoder/config.json", |config| config["model_type"] = "xlm-roberta".into());
            demo(dir, "lcm").json("unet/config.json", |config| config["time_cond_proj_dim"] = 256.into());
            demo(dir, "cascade")
                .json("unet/config.json", |config| config["mid_block_type"] = "UNetMidBlock2DSimpleCrossAttn".into());
        },
        commands: &[
            "convert xl -o out",
            "generate cat -m xl -o a.png",
            "convert sd3 -o out",
            "convert sd3 -o out --component unet",
            "convert flux -o out",
            "generate cat -m depth -o a.png",
            "convert model.gguf -o out",
            "convert model.aimodel -o out",
            "convert tae -o out",
            "generate cat -m tae -o a.png",
            "convert onnx -o out",
            "convert alt -o out",
            "convert lcm -o out",
            "convert cascade -o out",
        ],
    },
    Situation {
        title: "downloads that are not complete, and clones without their large files",
        make: |dir| {
            demo(dir, "clone").file(UNET, POINTER);
            demo(dir, "clone2").file("unet/config.json", POINTER);
            demo(dir, "page").file(UNET, "<!doctype html><html></html>");
            demo(dir, "cut").tensors(UNET, |tensors| drop(tensors.pop_first()));
            demo(dir, "half").without("unet");
            demo(dir, "bin").without(UNET).file("unet/diffusion_pytorch_model.bin", "PK");
            demo(dir, "empty").without(UNET);
            demo(dir, "shards").shards(
                UNET,
                [
                    "diffusion_pytorch_model-00001-of-00002.safetensors",
                    "diffusion_pytorch_model-00002-of-00002.safetensors",
                ],
                "diffusion_pytorch_model.safetensors.index.json",
            );
            fs::remove_file(dir.join("shards/unet/diffusion_pytorch_model-00002-of-00002.safetensors")).unwrap();
            let mut torn = fs::read(dir.join("clone").join(VAE)).unwrap();
            torn.truncate(torn.len() / 2);
            demo(dir, "torn").file(VAE, torn);
            demo(dir, "text").file("unet/config.json", "{\"in_channels\": 4,");
        },
        commands: &[
            "convert clone -o out",
            "convert clone2 -o out",
            "convert page -o out",
            "convert cut -o out",
            "convert half -o out",
            "convert bin -o out",
            "convert empty -o out",
            "convert shards -o out",
            "convert torn -o out",
            "convert text -o out",
        ],
    },
    Situation {
        title: "variants of weights",
        make: |dir| {
            let plain = format!("{DIFFUSERS}.safetensors");
            let rename = |made: &Made, to: &str| {
                fs::rename(made.root.join(UNET), made.root.join("unet").join(to)).unwrap();
            };
            rename(&demo(dir, "fp16"), &format!("{DIFFUSERS}.fp16.safetensors"));
            let two = demo(dir, "two");
            fs::copy(two.root.join(UNET), two.root.join("unet").join(format!("{DIFFUSERS}.fp16.safetensors"))).unwrap();
            rename(&two, &format!("{DIFFUSERS}.non_ema.safetensors"));
            demo(dir, "plain").file("unet/other.txt", plain);
        },
        commands: &[
            "convert fp16 -o out1 --component unet",
            "convert two -o out2 --component unet",
            "convert two -o out2 --component unet --variant bf16",
            "convert two -o out2 --component unet --variant non_ema",
            "convert plain -o out3 --component unet --variant fp16",
        ],
    },
    Situation {
        title: "what configurations say, and what is done about it",
        make: |dir| {
            demo(dir, "checker")
                .file("safety_checker/config.json", "{}")
                .json("model_index.json", |index| index["safety_checker"] = json!([null, null]));
            demo(dir, "early").json("unet/config.json", |config| {
                config["sample_size"] = 32.into();
                config["_diffusers_version"] = "0.6.0".into();
            });
            demo(dir, "unknown").json("unet/config.json", |config| config["turbo_mode"] = true.into());
            demo(dir, "heads").json("unet/config.json", |config| config["attention_head_dim"] = 7.into());
            demo(dir, "extra").tensors("text_encoder/model.safetensors", |tensors| {
                tensors.insert("logit_scale".to_owned(), (safetensors::Dtype::F32, vec![], vec![0; 4]));
            });
            demo(dir, "stray").tensors(UNET, |tensors| {
                tensors.insert("down_blocks.9.lora.weight".to_owned(), (safetensors::Dtype::F32, vec![], vec![0; 4]));
            });
        },
        commands: &[
            "convert checker -o out1 --component text-encoder",
            "convert checker -o out1 --component safety-checker",
            "convert early -o out2 --component unet",
            "convert unknown -o out3 --component unet",
            "convert heads -o out4 --component unet",
            "convert extra -o out5 --component text-encoder",
            "convert stray -o out6 --component unet",
        ],
    },
    Situation {
        title: "the Hub's cache, and repositories with models below",
        make: |dir| {
            demo(dir, "hub/models--a--b/snapshots/0000");
            demo(dir, "hub/models--a--b/snapshots/1111");
            fs::create_dir_all(dir.join("hub/models--c--d/snapshots")).unwrap();
            put(&dir.join("coreml/original/packages/Unet.mlpackage/Manifest.json"), "{}");
            put(&dir.join("coreml/original/compiled/Unet.mlmodelc/coremldata.bin"), "x");
        },
        commands: &[
            "convert hub -o out",
            "convert hub/models--a--b -o out",
            "convert hub/models--c--d -o out",
            "generate cat -m coreml -o a.png",
            "convert coreml -o out",
        ],
    },
    Situation {
        title: "models of the Hub, out of its cache",
        make: |dir| {
            let cached = |name: &str, file: &str| {
                let repository = dir.join("hub").join(name);
                put(&repository.join("refs/main"), HASH.as_bytes());
                put(&repository.join("snapshots").join(HASH).join(file), b"{}");
            };
            cached("models--a--pipeline", "model_index.json");
            cached("models--a--pipeline", "unet/config.json");
            let index = dir.join("hub/models--a--pipeline/snapshots").join(HASH).join("model_index.json");
            put(&index, br#"{"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}"#);
            cached("models--a--files", "one.safetensors");
            cached("models--a--files", "two.ckpt");
        },
        commands: &[
            "download models/sd15",
            "download hf:a/pipeline --all --variant fp16",
            "download hf:a/other --offline",
            "convert hf:a/other -o out --offline",
            "convert hf:a/pipeline@v2 -o out --offline",
            "convert hf:a/pipeline -o out --offline",
            "generate cat -m hf:a/files --offline -o a.png",
            "generate cat -m hf:a/files/three.ckpt --offline -o a.png",
        ],
    },
    Situation {
        title: "bundles",
        make: |dir| {
            demo(dir, "demo");
            demo(dir, "other");
        },
        commands: &[
            "convert demo -o out --bundle=packages --zip",
            "convert demo -o out --bundle packages",
            "convert demo -o out --zip",
            "convert demo -o out --bundle=folders",
            "convert demo -o out --bundle --chunk-unet 3",
            "convert demo -o out --bundle --unet-batches 1,2",
            "convert demo -o out --bundle --component unet --size 64",
            "convert demo -o out --bundle --component unet --size 64",
            "convert other -o out --bundle --component vae-decoder",
            "generate cat -m out -o a.png",
        ],
    },
    Situation {
        title: "compiled models, packages, chunks",
        make: |dir| {
            for name in ["TextEncoder", "Unet", "VAEDecoder"] {
                put(&dir.join("Resources").join(format!("{name}.mlmodelc/coremldata.bin")), "[]");
            }
            put(&dir.join("Unet.mlpackage/readme.txt"), "");
            for name in ["x_text_encoder", "x_unet_chunk1", "x_vae_decoder"] {
                fs::create_dir_all(dir.join("first").join(format!("{name}.mlpackage"))).unwrap();
            }
            for name in ["x_text_encoder", "x_unet", "y_unet", "x_vae_decoder"] {
                fs::create_dir_all(dir.join("both").join(format!("{name}.mlpackage"))).unwrap();
            }
            demo(dir, "sd");
        },
        commands: &[
            "generate cat -m Resources -o a.png",
            "convert Resources -o out",
            "compress Resources -o out --bits 4",
            "bench Resources",
            "inspect Resources/Unet.mlmodelc",
            "inspect Unet.mlpackage",
            "generate cat -m first -o a.png",
            "generate cat -m both -o a.png",
            "bench sd",
            "compress sd -o out --bits 4",
        ],
    },
    Situation {
        title: "sizes and numbers",
        make: |dir| drop(demo(dir, "sd")),
        commands: &[
            "convert sd -o out --component unet --latent-size 64x64",
            "convert sd -o out --latent-size 16,24",
            "convert sd -o out --size 500x512",
            "convert sd -o out --size 512by512",
            "convert sd -o out --size 99999x8",
            "generate cat -o a.png --steps 1 --size 128x64,64x64",
            "generate cat -o a.png --seed -2",
            "generate cat -o a.png --seed 5000000000",
            "generate cat -o a.png --strength 0.5",
            "generate --quik",
        ],
    },
    Situation {
        title: "pictures to begin with, and masks",
        make: |dir| {
            sketch(&dir.join("sketch.png"), 255);
            sketch(&dir.join("black.png"), 0);
        },
        commands: &[
            "generate cat -o a.png --mask sketch.png",
            "generate cat -o a.png --image sketch.png --mask-blur 4",
            "generate cat -o a.png --image sketch.png --mask-invert",
            "generate cat -o a.png --image sketch.png --only-masked",
            "generate cat -o a.png --image sketch.png --mask sketch.png --mask-blur -4",
            "generate cat -o a.png --image sketch.png --mask black.png --only-masked=8",
            "generate cat -o a.png --image sketch.png --mask sketch.png --mask-invert",
            "generate cat -o a.png --image sketch.png --outpaint 8,8",
            "generate cat -o a.png --image sketch.png --outpaint 0",
            "generate cat -o a.png --image sketch.png --fit pad",
            "generate cat -o a.png --image sketch.png --image-guidance 2",
            "generate cat -o a.png --image sketch.png --strength 0.01",
        ],
    },
    Situation {
        title: "inputs that are something else, and numbers below zero",
        make: |dir| {
            put(&dir.join("pointer.png"), POINTER);
            put(&dir.join("page.png"), "<html></html>");
            put(&dir.join("recipe.json"), POINTER);
            put(&dir.join("recipe.txt"), "a fox\nSteps: 20, Seed: 5, Sampler: Euler");
            put(&dir.join("empty.png"), "");
            demo(dir, "unchecked").json("model_index.json", |index| {
                index["safety_checker"] = json!(["stable_diffusion", "StableDiffusionSafetyChecker"]);
            });
        },
        commands: &[
            "generate cat -o a.png --image pointer.png",
            "compare page.png pointer.png",
            "metadata page.png",
            "metadata pointer.png",
            "metadata recipe.txt",
            "metadata empty.png",
            "metadata",
            "compress x.mlpackage -o y.mlpackage --config recipe.json",
            "generate cat -o a.png --steps -5",
            "generate cat -o a.png --guidance -1 --steps 1",
            "generate cat -o a.png --threads -2",
            "convert unchecked -o out",
            "convert unchecked -o out2 --component safety-checker",
        ],
    },
    Situation {
        title: "pictures to be like that say too little, or too much",
        make: |dir| {
            let drawn = |name: &str, text: &str| {
                let image = RgbImage::new(64, 64, vec![9; 3 * 64 * 64]).unwrap();
                let texts = [PngText::new("parameters", text)];
                image.write_png(fs::File::create(dir.join(name)).unwrap(), &texts).unwrap();
            };
            sketch(&dir.join("plain.png"), 9);
            drawn("begun.png", "x\nSteps: 1, Sampler: Euler, Seed: 1, Denoising strength: 0.5");
            drawn(
                "rich.png",
                "x <lora:fur:0.8>\nNegative prompt: y\nSteps: 1, Sampler: DPM adaptive, Schedule type: Karras, CFG scale: 1, \
                 Seed: 1, Size: 64x64, Model hash: 6ce0161689, Model: v1-5, VAE: ft-mse.safetensors, Clip skip: 9, Tiling: \
                 True, ENSD: 31337, Hires upscale: 1.5, Hires upscaler: 4x-UltraSharp, Denoising strength: 0.5, Version: \
                 v1.10.1",
            );
            put(&dir.join("page.png"), "<html></html>");
        },
        commands: &[
            "generate -o a.png",
            "generate -o a.png --like missing.png",
            "generate -o a.png --like page.png",
            "generate -o a.png --like plain.png",
            "generate -o a.png --like begun.png",
            "generate -o begun.png --like begun.png --image plain.png",
            "generate -o a.png --like rich.png",
        ],
    },
    Situation {
        title: "LoRAs that are something else",
        make: |dir| {
            demo(dir, "sd");
            fs::create_dir_all(dir.join("packages/x_unet.mlpackage")).unwrap();
            fs::create_dir_all(dir.join("loras")).unwrap();
            let of_xl = "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight";
            safetensors(&dir.join("loras/pixel.safetensors"), &[of_xl]);
            safetensors(&dir.join("vae.safetensors"), &["decoder.conv_in.weight"]);
            safetensors(&dir.join("half.safetensors"), &["lora_unet_conv_in.lora_down.weight"]);
        },
        commands: &[
            "convert sd -o out --lora missing.safetensors:0.8",
            "convert sd -o out --lora pixl --lora-dir loras",
            "convert sd -o out --lora pixel:0.8 --lora-dir loras",
            "convert sd -o out --lora vae.safetensors",
            "convert sd -o out --lora half.safetensors",
            "convert sd -o out --lora half.safetensors:inf",
            "convert sd -o out --allow-unapplied",
            "generate cat -m packages -o a.png --lora pixel --lora-dir loras",
            "inspect vae.safetensors --against sd",
        ],
    },
    Situation {
        title: "prompts that say what cannot be",
        make: |dir| {
            demo(dir, "sd");
            fs::create_dir_all(dir.join("loras")).unwrap();
        },
        commands: &[
            "generate (cat:1.2.3) -o a.png",
            "generate <lora:pixel:0.8> -m sd -o a.png",
            "generate <lora:pixel:0.8> -m sd -o a.png --lora-dir loras",
            "generate <lora:pixel:much> -m sd -o a.png",
            "generate <hypernet:pixel:1> -m sd -o a.png",
            "generate <lora:pixel:0.8> -m sd -o a.png --lora pixel.safetensors:1",
            "generate cat.swap(dog) -o a.png --emphasis compel",
            "generate cat -o a.png --emphasis strong",
            "generate cat -m sd -o a.png --embedding-dir words",
            "tokens (cat:.)",
            "tokens cat -m loras",
        ],
    },
    Situation {
        title: "ControlNets",
        make: |dir| {
            put(&dir.join("a.png"), fs::read(testkit::workspace_root().join("docs/images/first.png")).unwrap());
            demo(dir, "sd");
            for name in ["x_text_encoder", "x_unet", "x_vae_decoder", "ControlNet_canny", "ControlNet_depth"] {
                fs::create_dir_all(dir.join("packages").join(format!("{name}.mlpackage"))).unwrap();
            }
            made::copy(&dir.join("packages/x_unet.mlpackage"), &dir.join("bare/x_unet.mlpackage"));
        },
        commands: &[
            "generate cat -o b.png --control-image a.png",
            "generate cat -o b.png --controlnet canny",
            "generate cat -o b.png --controlnet canny --control-image a.png",
            "generate cat -m sd -o b.png --controlnet sd --control-image a.png",
            "generate cat -m packages -o b.png --controlnet pose --control-image a.png",
            "generate cat -m packages -o b.png --controlnet canny --control-image a.png",
            "generate cat -m bare -o b.png --controlnet canny --control-image a.png",
            "generate cat -m packages -o b.png --controlnet packages/x_unet.mlpackage --control-image a.png",
            "generate cat -o b.png --controlnet canny --control-image a.png --control-image a.png",
            "generate cat -o b.png --controlnet canny --control-image a.png --control-preprocess depth",
            "generate cat -o b.png --controlnet canny --control-image a.png --control-start 0.9 --control-end 0.2",
            "generate cat -o a.png --controlnet canny --control-image a.png",
        ],
    },
    Situation {
        title: "TAESDs that do not fit",
        make: |dir| {
            demo(dir, "sd");
            made::copy(&dir.join("sd/vae"), &dir.join("sd-vae-ft-mse"));
            let config = json!({ "_class_name": "AutoencoderTiny", "latent_channels": 16, "scaling_factor": 1.0,
                "encoder_block_out_channels": [8, 8, 8, 8], "num_encoder_blocks": [1, 1, 1, 1],
                "decoder_block_out_channels": [8, 8, 8, 8], "num_decoder_blocks": [1, 1, 1, 1] });
            put(&dir.join("taesd3/config.json"), config.to_string());
            let mut four = config.clone();
            four["latent_channels"] = 4.into();
            put(&dir.join("taesdxl/config.json"), four.to_string());
            four["encoder_block_out_channels"] = json!([8, 8, 8]);
            four["num_encoder_blocks"] = json!([1, 1, 1]);
            four["decoder_block_out_channels"] = json!([8, 8, 8]);
            four["num_decoder_blocks"] = json!([1, 1, 1]);
            put(&dir.join("taesd/config.json"), four.to_string());
            safetensors(&dir.join("taesd_encoder.safetensors"), &["0.weight", "1.conv.0.weight"]);
            safetensors(&dir.join("words.safetensors"), &["emb_params"]);
        },
        commands: &[
            "generate cat -m sd -o a.png --taesd sd-vae-ft-mse",
            "generate cat -m sd -o a.png --taesd taesd3",
            "generate cat -m sd -o a.png --taesd taesdxl",
            "generate cat -m sd -o a.png --taesd taesd",
            "generate cat -m sd -o a.png --taesd taesd_encoder.safetensors",
            "generate cat -m sd -o a.png --taesd words.safetensors",
            "generate cat -m sd -o a.png --taesd none",
        ],
    },
    Situation {
        title: "options without effect",
        make: |dir| {
            demo(dir, "sd");
            fs::create_dir_all(dir.join("packages/x_unet.mlpackage")).unwrap();
        },
        commands: &[
            "convert sd -o out --component text-encoder --attention original",
            "convert sd -o out --component text-encoder --size 128x128",
            "convert sd -o out --component vae-decoder --quantize-nbits 6",
            "convert sd -o out --component vae-decoder --chunk-unet",
            "generate cat -m packages -o a.png --attention original",
            "generate cat -m packages -o a.png --skip-layers 7,8",
            "generate cat -m sd -o a.png --skip-layers 7,8",
            "generate cat -m sd -o a.png --skip-layers 7,8 --guidance 1",
            "generate cat -m sd -o a.png --skip-layers 7-9",
            "generate cat -m sd -o a.png --skip-layer-scale 3",
            "generate cat -m sd -o a.png --count 2 --seeds both",
            "generate cat -m sd -o a.png --count 2 --seeds each --seed 4294967295",
            "generate cat -m sd -o a.png --hires 1024",
            "generate cat -m sd -o a.png --hires 1",
            "generate cat -m sd -o a.png --hires 2 --hires-by esrgan",
            "generate cat -m sd -o a.png --hires-strength 0.5",
            "generate cat -m sd -o a.png --hires 64x64",
            "generate cat -m packages -o a.png --precision float32",
            "generate cat -m sd -o a.png --guidance 1 --negative-prompt dog",
            "generate cat -m sd -o a.png --device metal",
        ],
    },
    Situation {
        title: "outputs that would lose something",
        make: |dir| {
            put(&dir.join("a.png"), fs::read(testkit::workspace_root().join("docs/images/first.png")).unwrap());
            demo(dir, "sd");
            put(&dir.join("other/smelt.json"), json!({"format": 1, "model_version": "sd15"}).to_string());
            fs::create_dir(dir.join("folder")).unwrap();
        },
        commands: &[
            "generate cat -o a.png --latents ./a.png",
            "generate cat -o b.png --grid b.png",
            "generate cat --image a.png -o a.png",
            "compare a.png a.png --grid a.png",
            "generate cat -o - --json",
            "generate cat -o - --count 2",
            "generate cat -o folder",
            "generate cat -o cat.avif",
            "convert sd -o -",
            "convert sd -o a.png",
            "convert sd -o other --force",
        ],
    },
    Situation {
        title: "previews",
        make: |dir| drop(demo(dir, "sd")),
        commands: &[
            "generate cat -m sd -o a.png --preview often",
            "generate cat -m sd -o a.png --preview-to b.png",
            "generate cat -m sd -o - --preview 5",
            "generate cat -m sd -o a.png --preview 5 --preview-to a.png",
            "generate cat -m sd -o a.png --preview 5 --preview-to -",
            "generate cat -m sd -o a.png --preview 5 --preview-taesd sd",
        ],
    },
    Situation {
        title: "several pictures that differ",
        make: |dir| {
            drop(demo(dir, "sd"));
            put(&dir.join("empty.txt"), "# nothing\n");
            put(&dir.join("colour.txt"), "red\n{blue\n");
        },
        commands: &[
            "generate - -m sd -o a.png",
            "generate cat --prompts empty.txt -m sd",
            "generate --prompts none.txt -m sd",
            "generate --prompts empty.txt -m sd",
            "generate --prompts - -m sd",
            "generate cat -m sd -o a.png --wildcards none",
            "generate __color__ -m sd -o a.png --wildcards .",
            "generate __colour__ -m sd -o a.png --wildcards .",
            "generate {red|blue -m sd -o a.png --wildcards .",
            "generate cat -m sd -o a.png --seed 5..1",
            "generate cat -m sd -o a.png --seed one",
            "generate cat -m sd -o - --seed 1..3",
            "generate cat -m sd -o a.png --x stepz=1,2",
            "generate cat -m sd -o a.png --x steps=ten",
            "generate cat -m sd -o a.png --x strength=0.2,0.4",
            "generate cat -m sd -o a.png --y prompt=dog,bird",
            "generate cat -m sd -o a.png --x guidance=1,4 --negative-prompt dog",
            "generate cat -m sd -o a.png --x scheduler=ddim,flow-euler",
        ],
    },
    Situation {
        title: "schedulers that are not there",
        make: |dir| {
            let with = |name: &str, key: &str, value: serde_json::Value| {
                drop(demo(dir, name).json("scheduler/scheduler_config.json", |config| config[key] = value));
            };
            with("cosine", "_class_name", "CosineDPMSolverMultistepScheduler".into());
            with("inverse", "_class_name", "DDIMInverseScheduler".into());
            with("score", "_class_name", "ScoreSdeVeScheduler".into());
            with("noclass", "_class_name", serde_json::Value::Null);
            with("typo", "beta_strat", 0.1.into());
            demo(dir, "variance").json("scheduler/scheduler_config.json", |config| {
                config["_class_name"] = "DDPMScheduler".into();
                config["variance_type"] = "fixed_large_log".into();
            });
        },
        commands: &[
            "generate cat -m cosine -o a.png",
            "generate cat -m inverse -o a.png",
            "generate cat -m score -o a.png",
            "generate cat -m noclass -o a.png",
            "generate cat -m variance -o a.png",
            "generate cat -m typo -o b.png --steps 1",
            "generate cat -o a.png --scheduler euler-b",
            "generate cat -o a.png --scheduler flow-euler",
            "generate cat -o a.png --scheduler DDIM-Karras",
            "generate cat -o a.png --steps 0",
            "convert cosine -o out --component text-encoder",
        ],
    },
    Situation {
        title: "UNets of other pipelines",
        make: |dir| {
            let wider = |name: &str, n: usize| {
                demo(dir, name).json("unet/config.json", |config| config["in_channels"] = n.into()).tensors(
                    UNET,
                    |tensors| {
                        let (_, shape, bytes) = tensors.get_mut("conv_in.weight").unwrap();
                        let row = bytes.len() / shape[0];
                        let rows = bytes.chunks_exact(row);
                        let padding = vec![0; row / shape[1] * (n - shape[1])];
                        *bytes = rows.flat_map(|row| [row, &padding].concat()).collect();
                        shape[1] = n;
                    },
                );
            };
            wider("inpaint", 9);
            wider("pix2pix", 8);
            wider("six", 6);
            wider("upscaler", 7);
            sketch(&dir.join("sketch.png"), 255);
        },
        commands: &[
            "generate cat -m inpaint -o a.png",
            "calibrate -m inpaint -o x.safetensors",
            "generate cat -m inpaint -o a.png --image sketch.png",
            "generate cat -m pix2pix -o a.png",
            "generate cat -m pix2pix -o a.png --image sketch.png --mask sketch.png",
            "generate cat -m pix2pix -o a.png --image sketch.png --strength 0.5",
            "generate cat -m pix2pix -o a.png --image sketch.png --image-guidance 0.5",
            "generate cat -m upscaler -o a.png",
            "generate cat -m six -o a.png",
            "convert inpaint -o out --component unet",
        ],
    },
    Situation {
        title: "tokenizers",
        make: |dir| {
            demo(dir, "none").without("tokenizer");
            demo(dir, "t5").json("tokenizer/tokenizer_config.json", |config| {
                config["tokenizer_class"] = "T5Tokenizer".into();
            });
            demo(dir, "pointer").without("tokenizer/tokenizer.json").file("tokenizer/vocab.json", POINTER);
            demo(dir, "beyond").file("tokenizer/added_tokens.json", json!({"<toy>": 99_999}).to_string());
        },
        commands: &[
            "generate cat -m none -o a.png",
            "generate cat -m t5 -o a.png",
            "generate cat -m pointer -o a.png",
            "generate cat -m beyond -o a.png --steps 1",
            "convert none -o out --component text-encoder",
        ],
    },
    Situation {
        title: "calibration data",
        make: |dir| {
            put(&dir.join("empty.txt"), b"# nothing yet\n");
            put(&dir.join("two.txt"), b"red heart\nrocket\n");
            put(&dir.join("there.safetensors"), b"mine");
            put(&dir.join("long.txt"), vec!["heart"; 80].join(" "));
        },
        commands: &[
            "calibrate",
            "calibrate -o there.safetensors",
            "calibrate -o x.safetensors --prompts missing.txt",
            "calibrate -o x.safetensors --prompts empty.txt",
            "calibrate -o two.txt --prompts two.txt --force",
            "calibrate -o x.safetensors --prompts two.txt --held-out",
            "calibrate -o x.safetensors --count 0",
            "calibrate -o x.safetensors --prompts two.txt --scheduler ddim --steps 2 --samples 9",
            "calibrate -o x.safetensors --prompts two.txt --guidance 1 --negative-prompt dark",
            "calibrate -o x.safetensors --prompts two.txt --seed 4294967295",
            "calibrate -o x.safetensors --prompts long.txt --steps 1 --scheduler ddim",
            "calibrate -o - --json",
            "analyse",
            "analyse unet.mlpackage",
            "analyse missing.mlpackage -o x.json",
            "analyse two.txt -o x.json",
            "analyse x -o x.json --shard 3/2",
            "analyse x -o x.json --schemes 2,5",
            "analyse x -o x.json --measure some",
            "analyse x -o x.json --merge 1.json",
            "analyse --merge 1.json -o x.json",
            "analyse --merge two.txt -o x.json",
            "analyse x -o -",
        ],
    },
    Situation {
        title: "activations of 8 bits",
        make: |dir| put(&dir.join("there.mlpackage"), b"mine"),
        commands: &[
            "quantize",
            "quantize missing.mlpackage -o x.mlpackage",
            "quantize missing.mlpackage -o there.mlpackage",
            "quantize missing.mlpackage -o x.safetensors",
            "quantize missing.mlpackage -o x.mlpackage --ranges max",
            "quantize missing.mlpackage -o x.mlpackage --share 2",
            "quantize missing.mlpackage -o x.mlpackage --psnr 30 --share 0.5",
            "quantize . -o x.mlpackage",
        ],
    },
    Situation {
        title: "servers that do not start",
        make: |_| {},
        commands: &[
            "serve --models nowhere",
            "serve --listen 0.0.0.0:0",
            "serve -m dreamshaper --listen 127.0.0.1:0",
            "serve --listen localhost",
            "serve --api-key x --no-auth",
        ],
    },
    Situation {
        title: "numbers that half precision does not have",
        make: |dir| {
            let change = |name: &str, file: &str, key: &'static str, f: fn(f32) -> f32| {
                drop(demo(dir, name).tensors(file, |tensors| {
                    let tensor = tensors.get_mut(key).unwrap();
                    let values: Vec<f32> = values(tensor).into_iter().map(f).collect();
                    *tensor = (
                        safetensors::Dtype::F32,
                        tensor.1.clone(),
                        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    );
                }));
            };
            change("vaebig", VAE, "decoder.conv_in.weight", |v| v * 30_000.0);
            change("nan", UNET, "conv_out.bias", |_| f32::NAN);
            change("large", UNET, "conv_out.bias", |_| 70_000.0);
        },
        commands: &[
            "convert vaebig -o out1 --component vae-decoder",
            "convert vaebig -o out2 --component vae-decoder --precision float16",
            "convert nan -o out3 --component unet",
            "generate cat -m nan -o a.png --steps 1",
            "generate cat -m nan -o b.png --steps 1 --low-memory",
            "convert large -o out4 --component unet",
        ],
    },
];

/// Values of a tensor in half or single precision.
fn values((dtype, shape, bytes): &made::Owned) -> Vec<f32> {
    let dtype = match dtype {
        safetensors::Dtype::F16 => host_tensor::DType::F16,
        _ => host_tensor::DType::F32,
    };
    host_tensor::HostTensor::new(dtype, shape.clone(), bytes.clone().into()).unwrap().to_f32_vec()
}

#[test]
fn every_message_is_one_that_helps() {
    let mut text = String::new();
    for situation in SITUATIONS {
        let dir = tempfile::tempdir().unwrap();
        (situation.make)(dir.path());
        writeln!(text, "# {}\n", situation.title).unwrap();
        for line in situation.commands {
            writeln!(text, "$ smelt {line}\n{}", said(dir.path(), line)).unwrap();
        }
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt");
    expect_test::expect_file![file].assert_eq(&text);
}

/// What a command says on standard error, and how it ends when it fails.
fn said(dir: &Path, line: &str) -> String {
    let mut command = command(line.split(' '));
    let output = command
        .current_dir(dir)
        .env("HF_HUB_CACHE", "hub")
        .env("SMELT_CACHE", std::env::temp_dir().join("smelt-tests"))
        .output()
        .unwrap();
    let mut text = String::from_utf8(output.stderr).unwrap();
    // Links of the temporary folder are resolved where a message names a parent.
    for root in [dir.canonicalize().unwrap(), dir.to_owned()] {
        text = text.replace(&format!("{}/", root.display()), "");
    }
    if let Some(code) = output.status.code().filter(|code| *code > 1) {
        writeln!(text, "(exit code {code})").unwrap();
    }
    if output.status.success() && text.is_empty() {
        text.push_str("(nothing)\n");
    }
    text
}
