//! What a file of PyTorch may call: functions and classes that only hold data. None is called here.

use crate::pickle::{Kind, Pickle};

/// Calls that files of trainings have, by name; Python 2 has other names for some.
const DATA: &[&str] = &[
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_device_tensor_from_numpy",
    "torch._tensor._rebuild_from_type_v2",
    "torch.Size",
    "torch.device",
    "torch.Generator",
    "torch.serialization._get_layout",
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.Counter",
    "collections.deque",
    "argparse.Namespace",
    "types.SimpleNamespace",
    "copy_reg._reconstructor",
    "copyreg._reconstructor",
    "_codecs.encode",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.numeric._frombuffer",
    "numpy.core.numeric._frombuffer",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "uuid.UUID",
];

/// Types of Python itself whose calls make a value of them.
const BUILTINS: &[&str] = &[
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "bytearray",
    "bytes",
    "complex",
    "slice",
    "range",
    "xrange",
    "object",
];

/// What the names of those begin with, in Python 3 and 2.
const BUILTIN_MODULES: &[&str] = &["builtins", "__builtin__"];

/// Packages whose enumerations and settings trainings save.
const PACKAGES: &[&str] = &["omegaconf", "pytorch_lightning", "lightning", "lightning_fabric"];

fn is_data(name: &str) -> bool {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    DATA.contains(&name) || PACKAGES.contains(&first) || BUILTIN_MODULES.contains(&first) && BUILTINS.contains(&rest)
}

/// Refuses a pickle that calls anything else, wherever the call stands.
pub(super) fn check(pickle: &Pickle) -> Result<(), String> {
    for item in pickle.all() {
        let Kind::Call { function, .. } = item.kind() else { continue };
        let name = function.global().unwrap_or("what another call gives");
        if !is_data(name) {
            return Err(format!(
                "it would call {name}, which holds no data and may do harm; nothing was executed. Where you trust the file, \
                 save its state_dict anew as safetensors"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_holds_data_may_be_called() {
        for name in
            ["torch._utils._rebuild_tensor_v2", "__builtin__.set", "builtins.set", "omegaconf.dictconfig.DictConfig"]
        {
            assert!(is_data(name), "{name}");
        }
        for name in [
            "os.system",
            "posix.system",
            "builtins.eval",
            "__builtin__.getattr",
            "io.open",
            "torch.load",
            "omegaconf_.x",
            "x",
        ] {
            assert!(!is_data(name), "{name}");
        }
        let nested = Pickle::read(b"cbuiltins\nset\n)R)R.").unwrap();
        assert!(check(&nested).unwrap_err().contains("what another call gives"));
    }
}
