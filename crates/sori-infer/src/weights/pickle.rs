//! Looks at a pickle without running it: just enough of Python's stack machine to find the tensors of a checkpoint.
//!
//! Opcodes are those of CPython's Lib/pickletools.py up to protocol 5 that `torch.save` and the classes around it use.
//! A pickle names classes to call; here only the names in [`Global`] mean something, and what every other call would make
//! is [`Value::Opaque`]. So a checkpoint may hold whatever its training left in it, and none of that is imported or run.
//!
//! Everything that is made lives in one list and is named by its index: values are small and can be copied, cycles do
//! no harm, and memory is bounded by the number of opcodes.

mod machine;

pub(super) use machine::read;

/// What a pickle builds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// `None`, floats, sets and whatever unknown classes make.
    Opaque,
    Int(i64),
    Text(&'a str),
    Global(Global),
    /// Index of the items in [`Heap::lists`]; tuples and lists.
    List(usize),
    /// Index of the items in [`Heap::dicts`].
    Dict(usize),
    /// Index of the key in [`Heap::storages`].
    Storage(usize),
    /// Index in [`Heap::tensors`].
    Tensor(usize),
}

/// A name of Python that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `dict`, `collections.OrderedDict`, `collections.defaultdict`.
    Dict,
    /// `torch._utils._rebuild_tensor_v2` and its predecessor.
    Tensor,
    /// `torch._utils._rebuild_parameter`, with or without state.
    Parameter,
    /// `torch.FloatStorage` and the like.
    Storage(Dtype),
}

/// The type of a storage's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F32,
    F16,
    Bf16,
    F64,
    /// Integers and booleans, with the bytes of one.
    Whole(u64),
}

/// The bytes that tensors are views of, kept outside of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    /// Elements.
    pub count: u64,
}

/// A view of a storage, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Index in [`Heap::storages`].
    pub storage: usize,
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<u64>,
}

/// Everything a pickle has made.
#[derive(Debug, Default)]
pub(super) struct Heap<'a> {
    pub lists: Vec<Vec<Value<'a>>>,
    pub dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub storages: Vec<Storage<'a>>,
    pub tensors: Vec<View>,
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub root: Value<'a>,
    pub heap: Heap<'a>,
    /// Bytes up to and with the `STOP`.
    pub length: usize,
}

impl<'a> Value<'a> {
    /// What a name of Python means here.
    fn global(module: &str, name: &str) -> Self {
        let dtype = |name: &str| {
            Some(match name {
                "FloatStorage" => Dtype::F32,
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::Bf16,
                "DoubleStorage" => Dtype::F64,
                "LongStorage" => Dtype::Whole(8),
                "IntStorage" => Dtype::Whole(4),
                "ShortStorage" => Dtype::Whole(2),
                "CharStorage" | "ByteStorage" | "BoolStorage" => Dtype::Whole(1),
                _ => return None,
            })
        };
        let known = match (module, name) {
            ("collections", "OrderedDict" | "defaultdict") => Some(Global::Dict),
            ("__builtin__" | "builtins", "dict") => Some(Global::Dict),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Some(Global::Tensor),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Some(Global::Parameter)
            }
            ("torch" | "torch.storage", name) => dtype(name).map(Global::Storage),
            _ => None,
        };
        known.map_or(Self::Opaque, Self::Global)
    }
}
