//! What the machine has, as far as it matters for converting and running models.

use std::path::Path;

use sd_engines::Isa;
use serde::Serialize;
use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind, System};

use crate::engine::isa;
use crate::error::{Context, Result};

/// The machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// The operating system and its version.
    pub system: String,
    /// Name of the architecture.
    pub architecture: &'static str,
    /// The processor.
    pub processor: Processor,
    /// The memory.
    pub memory: Memory,
    /// The disk that holds the current directory.
    pub disk: Disk,
    /// What Core ML is here, in words.
    pub core_ml: &'static str,
    /// Devices of Burn's that are in this build.
    pub burn_devices: Vec<&'static str>,
}

/// The processor, and what the CPU engine makes of it.
#[derive(Debug, Serialize)]
pub struct Processor {
    /// Its name.
    pub name: String,
    /// Cores, where the system tells them from threads.
    pub cores: Option<usize>,
    /// Threads that run at once, which is what models use.
    pub threads: usize,
    /// Those of the CPU engine's that exist here, the best last.
    pub instruction_sets: Vec<&'static str>,
    /// The one that the engine uses; null when `SMELT_ISA` names none.
    pub chosen: Option<&'static str>,
    /// Whether `SMELT_ISA` chose it.
    pub is_told: bool,
    /// Threads that wanted to run in the last minute, on average; null where the system does not tell.
    pub load: Option<f64>,
    /// Whether products in bf16 are instructions of the chosen set.
    pub multiplies_bf16: bool,
    /// Why the engine does not start here.
    #[serde(skip)]
    pub problem: Option<String>,
}

impl Processor {
    /// Whether other programs compute so much that measurements come out low.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.load.is_some_and(|load| load > 0.5 * self.threads as f64)
    }
}

/// Memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Memory {
    /// Of the machine, or of the control group that the program runs in.
    pub total_bytes: u64,
    /// What a program can get without swapping.
    pub available_bytes: u64,
}

impl Memory {
    /// Looks at it alone.
    #[must_use]
    pub fn look() -> Self {
        memory(&System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram())))
    }
}

/// A disk.
#[derive(Debug, Serialize)]
pub struct Disk {
    /// The directory.
    pub directory: String,
    /// What is free there; null where the system does not tell.
    pub free_bytes: Option<u64>,
}

impl Machine {
    /// Looks around.
    ///
    /// # Errors
    /// When the current directory cannot be told.
    pub fn look(isa_name: Option<&str>) -> Result<Self> {
        let kinds = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let system = System::new_with_specifics(kinds);
        let here = std::env::current_dir().context("cannot tell the current directory")?;
        Ok(Self {
            system: System::long_os_version().unwrap_or_else(|| std::env::consts::OS.to_owned()),
            architecture: std::env::consts::ARCH,
            processor: processor(&system, isa_name),
            memory: memory(&system),
            disk: Disk { directory: here.display().to_string(), free_bytes: free_bytes(&here) },
            core_ml: if cfg!(target_os = "macos") {
                "part of this system, for apps; Smelt itself runs packages on its own engine"
            } else {
                "not on this system; Smelt runs packages on its own engine"
            },
            burn_devices: burn_devices(),
        })
    }
}

fn processor(system: &System, isa_name: Option<&str>) -> Processor {
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    let isa = isa(isa_name);
    Processor {
        name: brand.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned()),
        cores: System::physical_core_count(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
        chosen: isa.as_ref().ok().map(|isa| isa.name()),
        is_told: isa_name.is_some(),
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
