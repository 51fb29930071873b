//! What the machine has, as far as it matters for converting and running models.

use std::path::Path;

use anyhow::{Context, Result};
use sd_engines::Isa;
use serde::Serialize;
use std::io::IsTerminal;
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

use crate::preview::Protocol;

/// The machine.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    /// The operating system and its version.
    pub(super) system: String,
    pub(super) architecture: &'static str,
    pub(super) processor: Processor,
    pub(super) memory: Memory,
    pub(super) disk: Disk,
    /// What Core ML is here, in words.
    pub(super) core_ml: &'static str,
    /// Devices of Burn's that are in this build.
    pub(super) burn_devices: Vec<&'static str>,
    /// How `--show` draws; null where standard output shows no pictures.
    pub(super) terminal: Option<&'static str>,
    /// Golden data of the tests, in words; null unless `SMELT_GOLDEN` is set.
    pub(super) golden: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Processor {
    pub(super) name: String,
    /// Cores, where the system tells them from threads.
    pub(super) cores: Option<usize>,
    /// Threads that run at once, which is what models use.
    pub(super) threads: usize,
    /// Those of the CPU engine's that exist here, the best last.
    pub(super) instruction_sets: Vec<&'static str>,
    /// The one that the engine uses; null when `SMELT_ISA` names none.
    pub(super) chosen: Option<&'static str>,
    /// Whether `SMELT_ISA` chose it.
    pub(super) is_told: bool,
    /// Threads that wanted to run in the last minute, on average; null where the system does not tell.
    pub(super) load: Option<f64>,
    /// Whether products in bf16 are instructions of the chosen set.
    pub(super) multiplies_bf16: bool,
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

impl Processor {
    /// Whether other programs compute so much that measurements come out low.
    pub(super) fn is_busy(&self) -> bool {
        self.load.is_some_and(|load| load > 0.5 * self.threads as f64)
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Memory {
    /// Of the machine, or of the control group that the program runs in.
    pub(super) total_bytes: u64,
    /// What a program can get without swapping.
    pub(super) available_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Disk {
    pub(super) directory: String,
    pub(super) free_bytes: Option<u64>,
}

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let kinds = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(kinds);
        let here = std::env::current_dir().context("cannot tell the current directory")?;
        let stdout = std::io::stdout();
        Ok(Self {
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            architecture: std::env::consts::ARCH,
            processor: processor(&system),
            memory: memory(&system),
            disk: Disk { directory: here.display().to_string(), free_bytes: free_bytes(&here) },
            core_ml: if cfg!(target_os = "macos") {
                "part of this system, for apps; Smelt itself runs packages on its own engine"
            } else {
                "not on this system; Smelt runs packages on its own engine"
            },
            burn_devices: burn_devices(),
            terminal: Protocol::of_terminal().filter(|_| stdout.is_terminal()).map(Protocol::name),
            golden: std::env::var_os("SMELT_GOLDEN").map(|dir| golden(Path::new(&dir))),
        })
    }
}

fn processor(system: &System) -> Processor {
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    let isa = crate::engine_args::isa();
    Processor {
        name: brand.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned()),
        cores: System::physical_core_count(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
        chosen: isa.as_ref().ok().map(|isa| isa.name()),
        is_told: std::env::var_os("SMELT_ISA").is_some_and(|name| !name.is_empty()),
        // Windows has no such average, and it is 0 there.
        load: Some(System::load_average().one).filter(|&load| load > 0.0),
        multiplies_bf16: isa.as_ref().is_ok_and(|isa| isa.multiplies_bf16()),
        problem: isa.err().map(|error| format!("SMELT_ISA={error}; unset it, or name one of these")),
    }
}

/// The machine's memory, or less where the control group has less.
fn memory(system: &System) -> Memory {
    let machine = Memory { total_bytes: system.total_memory(), available_bytes: system.available_memory() };
    match system.cgroup_limits().filter(|limits| limits.total_memory > 0) {
        Some(limits) => Memory {
            total_bytes: machine.total_bytes.min(limits.total_memory),
            // `free_memory` counts cached files as used, which a program that needs memory displaces.
            available_bytes: machine.available_bytes.min(limits.total_memory.saturating_sub(limits.rss)),
        },
        None => machine,
    }
}

/// Free space of the file system that holds the directory: the one mounted nearest above it.
fn free_bytes(directory: &Path) -> Option<u64> {
    let disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing().with_storage());
    let above = disks.iter().filter(|disk| directory.starts_with(disk.mount_point()));
    above.max_by_key(|disk| disk.mount_point().components().count()).map(sysinfo::Disk::available_space)
}

fn burn_devices() -> Vec<&'static str> {
    let all = [
        ("flex", cfg!(feature = "burn")),
        ("cuda", cfg!(feature = "burn-cuda")),
        ("metal", cfg!(feature = "burn-metal")),
        ("rocm", cfg!(feature = "burn-rocm")),
        ("vulkan", cfg!(feature = "burn-vulkan")),
        ("webgpu", cfg!(feature = "burn-webgpu")),
        ("wgpu", cfg!(feature = "burn-wgpu")),
    ];
    all.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name).collect()
}

/// What `SMELT_GOLDEN` leads to.
fn golden(dir: &Path) -> String {
    let dir_shown = dir.display();
    if dir.join("checkpoints").is_dir() {
        format!("in {dir_shown}, for the tests")
    } else {
        format!("none in {dir_shown} (SMELT_GOLDEN), so tests skip what needs it")
    }
}
