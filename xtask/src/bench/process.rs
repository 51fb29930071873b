//! Runs a process under known conditions of disk and page cache, and watches its time and memory.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What one run took.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) seconds: f64,
    /// Largest memory seen, sampled every few milliseconds; `None` where the system does not tell.
    /// Anonymous and shared memory: pages of mapped files belong to the page cache and are not counted.
    pub(super) peak_mb: Option<f64>,
    /// Seconds of all processors together, which do not grow where others have them meanwhile; `None` as above.
    pub(super) cpu_s: Option<f64>,
}

/// Runs `command` to its successful end, its standard output dropped.
pub(super) fn run(command: &mut Command) -> Result<Usage> {
    Ok(watch(command.stdout(Stdio::null()))?.0)
}

/// Runs `command` to its successful end; also what it printed to standard output.
pub(super) fn output(command: &mut Command) -> Result<(Usage, String)> {
    watch(command.stdout(Stdio::piped()))
}

fn watch(command: &mut Command) -> Result<(Usage, String)> {
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program(command)))?;
    let watched = child.id();
    let watch = thread::spawn(move || {
        let (mut peak_kib, mut cpu_s) = (None, None);
        // The file goes, or loses its memory fields, when the process ends.
        while let Some(kib) = memory_kib(watched) {
            peak_kib = peak_kib.max(Some(kib));
            cpu_s = processor_s(watched).or(cpu_s);
            thread::sleep(Duration::from_millis(2));
        }
        (peak_kib, cpu_s)
    });
    let mut printed = String::new();
    let read = child.stdout.take().map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut printed));
    let status = child.wait()?;
    let seconds = start.elapsed().as_secs_f64();
    let (peak_kib, cpu_s) = watch.join().unwrap_or_default();
    ensure!(status.success(), "{}: {status}", program(command));
    read.with_context(|| format!("{} printed no text", program(command)))?;
    Ok((Usage { seconds, peak_mb: peak_kib.map(megabytes), cpu_s }, printed))
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Anonymous and shared memory that a process has now; `None` where the system does not tell.
pub(super) fn memory_mb(pid: u32) -> Option<f64> {
    memory_kib(pid).map(megabytes)
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// Processor time of a process until now on Linux.
fn processor_s(pid: u32) -> Option<f64> {
    processor_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| ticks as f64 / TICKS)
}

/// Ticks of a second in what Linux tells programs, whatever the kernel's own are.
const TICKS: f64 = 100.0;

/// Time in the program and in the kernel, the 14th and 15th field; the second, in parentheses, may have spaces.
fn processor_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Anonymous and shared resident memory of a process on Linux.
fn memory_kib(pid: u32) -> Option<u64> {
    anonymous_kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn anonymous_kib(status: &str) -> Option<u64> {
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
    };
    Some(field("RssAnon:")? + field("RssShmem:")?)
}

/// Nothing at `to`, and nothing still on its way to the disk.
pub(super) fn fresh(to: &Path) -> Result<()> {
    if to.is_dir() {
        fs::remove_dir_all(to)?;
    } else if to.exists() {
        fs::remove_file(to)?;
    }
    run(&mut Command::new("sync"))?;
    Ok(())
}

/// Reads a file, or every file below a folder, so that it lies in the page cache.
pub(super) fn warm(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| warm(&entry?.path()))
    } else {
        io::copy(&mut File::open(path)?, &mut io::sink())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_program_and_kernel() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 90 0 0 0 250 31 0 0 20 0 2 0 9 1 1";
        assert_eq!(processor_ticks(stat), Some(281));
        assert_eq!(processor_ticks("7 (a"), None);
    }

    #[test]
    fn pages_of_mapped_files_are_not_counted() {
        let status = "Name:\tsmelt\nVmRSS:\t  900 kB\nRssAnon:\t  300 kB\nRssFile:\t  500 kB\nRssShmem:\t  100 kB\n";
        assert_eq!(anonymous_kib(status), Some(400));
        assert_eq!(anonymous_kib("Name:\tsmelt\nState:\tZ (zombie)\n"), None);
    }
}
