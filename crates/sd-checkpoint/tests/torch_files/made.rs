//! Files of PyTorch that tests make, opcode by opcode.

/// What is saved: a dictionary of values around the dictionary of the state.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    entries: Vec<(String, Vec<u8>)>,
    outer: Vec<(String, Vec<u8>)>,
    storages: Vec<(Vec<u8>, usize)>,
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    [&b"X"[..], &(value.len() as u32).to_le_bytes(), value.as_bytes()].concat()
}

fn tuple(values: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let numbers: Vec<u8> = values.into_iter().flat_map(number).collect();
    [&b"("[..], &numbers, b"t"].concat()
}

fn number(value: usize) -> Vec<u8> {
    [&[0x8a, 8][..], &(value as u64).to_le_bytes()].concat()
}

/// A call of the function with these arguments.
fn call(function: &str, arguments: &[&[u8]]) -> Vec<u8> {
    let (module, name) = function.rsplit_once('.').unwrap();
    [format!("c{module}\n{name}\n(").as_bytes(), &arguments.concat(), b"tR"].concat()
}

impl Saved {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), outer: Vec::new(), storages: Vec::new() }
    }

    /// An entry of the state, as opcodes.
    pub(crate) fn raw(&mut self, key: &str, value: &[u8]) {
        self.entries.push((key.to_owned(), value.to_vec()));
    }

    /// A new storage of so many elements, by which a tensor refers to it.
    fn storage(&mut self, class: &str, bytes: &[u8], width: usize) -> Vec<u8> {
        self.storages.push((bytes.to_vec(), width));
        self.reference(self.storages.len() - 1, class)
    }

    fn reference(&self, index: usize, class: &str) -> Vec<u8> {
        let (bytes, width) = &self.storages[index];
        let n = number(bytes.len() / width);
        let (module, name) = class.rsplit_once('.').unwrap_or(("torch", class));
        let class = format!("c{module}\n{name}\n");
        [&b"("[..], &text("storage"), class.as_bytes(), &text(&index.to_string()), &text("cpu"), &n, b"tQ"].concat()
    }

    fn view(reference: &[u8], offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
        let (shape, strides) = (tuple(shape.iter().copied()), tuple(strides.iter().copied()));
        let hooks = call("collections.OrderedDict", &[]);
        call("torch._utils._rebuild_tensor_v2", &[reference, &number(offset), &shape, &strides, b"\x89", &hooks])
    }

    /// A tensor that has a storage of its own.
    pub(crate) fn tensor(&mut self, key: &str, class: &str, bytes: &[u8], shape: &[usize], strides: &[usize]) {
        let width = match class {
            "HalfStorage" | "BFloat16Storage" => 2,
            "FloatStorage" => 4,
            _ => 8,
        };
        let reference = self.storage(class, bytes, width);
        self.raw(key, &Self::view(&reference, 0, shape, strides));
    }

    /// Every way in which a tensor is saved, and what trainings save beside them.
    pub(crate) fn every_kind() -> Self {
        let mut saved = Self::new();
        let six: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let shared = saved.storage("FloatStorage", &six, 4);
        saved.raw("plain", &[&Self::view(&shared, 0, &[2, 3], &[3, 1])[..], b"q\x07"].concat());
        saved.raw("again", b"h\x07");
        saved.raw("turned", &Self::view(&shared, 0, &[3, 2], &[1, 3]));
        saved.raw("part", &Self::view(&shared, 4, &[2], &[1]));
        let scalar = Self::view(&shared, 2, &[], &[]);
        let hooks = call("collections.OrderedDict", &[]);
        saved.raw("parameter", &call("torch._utils._rebuild_parameter", &[&scalar, b"\x88", &hooks]));
        saved.tensor("half", "HalfStorage", &[0, 0x3c, 0, 0xc0], &[2], &[1]);
        saved.tensor("brain", "BFloat16Storage", &[0x80, 0x3f], &[1], &[1]);
        saved.tensor("long", "LongStorage", &7i64.to_le_bytes(), &[1], &[1]);
        let bytes = saved.storage("torch.storage.UntypedStorage", &[0x38, 0x7e, 0xb8], 1);
        let (shape, strides) = (tuple([3]), tuple([1]));
        let dtype = b"ctorch\nfloat8_e4m3fn\n";
        let third = [&bytes[..], &number(0), &shape, &strides, b"\x89", &hooks, dtype];
        saved.raw("eighth", &call("torch._utils._rebuild_tensor_v3", &third));
        let complex = saved.storage("ComplexFloatStorage", &[0; 8], 8);
        saved.outer = vec![
            ("epoch".to_owned(), b"K\x03".to_vec()),
            ("lr".to_owned(), [&b"G"[..], &0.5f64.to_be_bytes()].concat()),
            (
                "loss".to_owned(),
                call("numpy.core.multiarray.scalar", &[&call("numpy.dtype", &[&text("f4")]), b"C\x01a"]),
            ),
            ("complex".to_owned(), Self::view(&complex, 0, &[1], &[1])),
        ];
        saved
    }

    fn pickle(&self) -> Vec<u8> {
        let entries = |entries: &[(String, Vec<u8>)]| -> Vec<u8> {
            entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect()
        };
        // An OrderedDict with what modules keep of themselves as its state, as `torch.save(module.state_dict())` writes it.
        let state = [
            call("collections.OrderedDict", &[]),
            b"(".to_vec(),
            entries(&self.entries),
            b"u}X\x09\x00\x00\x00_metadata}sb".to_vec(),
        ]
        .concat();
        [b"\x80\x02}(", &text("state_dict")[..], &state, &entries(&self.outer), b"u."].concat()
    }
}

/// The form since version 1.6; with numbers of 64 bits, as in files of 4 GiB and more.
pub(crate) fn archive(saved: &Saved, is_large: bool) -> Vec<u8> {
    let mut files =
        vec![("model/data.pkl".to_owned(), saved.pickle()), ("model/byteorder".to_owned(), b"little".to_vec())];
    files.extend(saved.storages.iter().enumerate().map(|(i, (bytes, _))| (format!("model/data/{i}"), bytes.clone())));
    let (mut bytes, mut table) = (Vec::new(), Vec::new());
    for (name, content) in &files {
        let place = bytes.len();
        let (size, large) = match is_large {
            true => (
                u32::MAX,
                [
                    &b"\x01\x00\x18\x00"[..],
                    &[content.len(), content.len(), place].map(|n| (n as u64).to_le_bytes()).concat(),
                ]
                .concat(),
            ),
            false => (content.len() as u32, Vec::new()),
        };
        let place = if is_large { u32::MAX } else { place as u32 };
        let lengths = |extra: usize| [(name.len() as u16).to_le_bytes(), (extra as u16).to_le_bytes()].concat();
        let sizes = [[0; 4], size.to_le_bytes(), size.to_le_bytes()].concat();
        // PyTorch puts tensors at multiples of 64 bytes by an extra field of the number "FB".
        let padding = [b'Z'; 5];
        let local = [
            b"PK\x03\x04",
            &[0; 10][..],
            &sizes,
            &lengths(4 + padding.len()),
            name.as_bytes(),
            b"FB\x05\x00",
            &padding,
            content,
        ];
        bytes.extend(local.concat());
        table.extend(
            [
                b"PK\x01\x02",
                &[0; 12][..],
                &sizes,
                &lengths(large.len()),
                &[0; 10],
                &place.to_le_bytes(),
                name.as_bytes(),
                &large,
            ]
            .concat(),
        );
    }
    let (n, at, n_table) = (files.len(), bytes.len(), table.len());
    bytes.extend(table);
    if is_large {
        let end = bytes.len() as u64;
        let numbers = [n, n, n_table, at].map(|n| (n as u64).to_le_bytes()).concat();
        bytes.extend([b"PK\x06\x06", &44u64.to_le_bytes()[..], &[0; 12], &numbers].concat());
        bytes.extend([b"PK\x06\x07", &[0; 4][..], &end.to_le_bytes(), &1u32.to_le_bytes()].concat());
    }
    let (n, at) = if is_large { (u16::MAX, u32::MAX) } else { (n as u16, at as u32) };
    let numbers =
        [&n.to_le_bytes()[..], &n.to_le_bytes(), &(n_table as u32).to_le_bytes(), &at.to_le_bytes(), &[0; 2]].concat();
    bytes.extend([b"PK\x05\x06", &[0; 4][..], &numbers].concat());
    bytes
}

/// The form before version 1.6.
pub(crate) fn legacy(saved: &Saved) -> Vec<u8> {
    let machine = [b"\x80\x02}", &text("little_endian")[..], b"\x88s."].concat();
    let keys: Vec<u8> = (0..saved.storages.len()).flat_map(|i| text(&i.to_string())).collect();
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";
    let mut bytes = [&magic[..], &machine, &saved.pickle(), b"\x80\x02](", &keys, b"e."].concat();
    for (content, width) in &saved.storages {
        bytes.extend(((content.len() / width) as u64).to_le_bytes());
        bytes.extend(content);
    }
    bytes
}
