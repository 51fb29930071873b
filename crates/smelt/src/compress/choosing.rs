//! Schemes that are chosen for a goal, for the packages of one compression.

use std::path::PathBuf;

use safe_files::Tree;

use super::Task;
use crate::error::{Context, Result, refuse};
use crate::recipe::{Chooser, Choosing, Goal, Part};
use crate::report::ChoiceReport;
use crate::watch::Watch;

/// Looks at the weights of tasks, and refuses what cannot be; the other tasks and the copies only take room.
pub(super) fn chooser(
    asked: &Choosing,
    tasks: &[Task],
    chosen_for: &[usize],
    copies: &[(Tree, PathBuf)],
) -> Result<Chooser> {
    if let Some(task) =
        tasks.iter().find(|task| task.first.is_some()).filter(|_| !matches!(asked.goal, Goal::MeanBits(_)))
    {
        refuse!(
            "{} shares its weights with the package of another size or batch, and --fit and --psnr choose for one package; \
             compress that one alone, or all by --mean-bits",
            task.input.display()
        );
    }
    let mut others = 0;
    for (tree, _) in copies {
        // What is no folder has no files in it.
        let is_file = tree.root().is_file().then(|| tree.root().to_path_buf());
        for path in tree.files().map(|path| tree.root().join(path)).chain(is_file) {
            others += std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        }
    }
    let is_other = |(i, _): &(usize, &Task)| !chosen_for.contains(i);
    others += tasks.iter().enumerate().filter(is_other).map(|(_, task)| task.package.n_bytes()).sum::<u64>();
    let names = names(tasks);
    Chooser::new(asked, &parts(tasks, chosen_for, &names), others)
}

/// Chooses, and gives the tasks their plans.
pub(super) fn choose(
    chooser: Chooser,
    tasks: &mut [Task],
    chosen_for: &[usize],
    watch: &mut dyn Watch,
) -> Result<ChoiceReport> {
    let names = names(tasks);
    let chosen = chooser.choose(&parts(tasks, chosen_for, &names), watch)?;
    for (&i, plans) in chosen_for.iter().zip(chosen.plans) {
        tasks[i].plans = plans;
    }
    Ok(chosen.report)
}

fn names(tasks: &[Task]) -> Vec<String> {
    tasks.iter().map(Task::label).collect()
}

fn parts<'t>(tasks: &'t [Task], chosen_for: &[usize], names: &'t [String]) -> Vec<Part<'t>> {
    let part = |&i: &usize| {
        let Task { package, plans, config, .. } = &tasks[i];
        Part { name: &names[i], package, plans, config }
    };
    chosen_for.iter().map(part).collect()
}
