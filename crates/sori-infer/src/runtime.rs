//! The one inference runtime: ONNX networks, tensors in, tensors out.
//!
//! Thin on purpose. Callers see plain [`Tensor`]s and names, never rten's types, so the runtime can be replaced here alone.
//!
//! A file is checked before it is parsed: it cannot make the parser hang or allocate more than the file has bytes. What a
//! well-formed network computes is not limited, so only networks from the catalogue or from the user's own hand belong
//! here.

pub(crate) mod wire;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rten::{
    LoadError, LoadErrorKind, Model, NodeId, RunError, RunErrorKind, RunOptions, ThreadPool, Value,
    ValueOrView,
};
use rten_tensor::{TensorView, prelude::*};

use crate::error::{InferError, InferErrorKind};

/// Largest ONNX file that is read, in bytes. The secondary networks are far below; more is a mistake or an attack.
pub(crate) const MAX_FILE_BYTES: u64 = 2 << 30;

/// A dense tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of the shape.
    pub data: TensorData,
}

/// The elements of a [`Tensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Integers and booleans. The runtime computes them in 32 bits; what is outside saturates.
    I64(Vec<i64>),
}

impl Tensor {
    /// A tensor of floats with this shape.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Self {
        Self {
            shape: shape.to_vec(),
            data: TensorData::F32(data),
        }
    }

    /// A tensor of integers with this shape.
    pub fn i64(shape: &[usize], data: Vec<i64>) -> Self {
        Self {
            shape: shape.to_vec(),
            data: TensorData::I64(data),
        }
    }

    /// The floats; `None` for integers.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(data) => Some(data),
            TensorData::I64(_) => None,
        }
    }
}

/// A network read from an ONNX file. Clones share the weights; running needs no exclusive access.
#[derive(Clone)]
pub struct OnnxModel {
    model: Arc<Model>,
    threads: Arc<ThreadPool>,
    path: PathBuf,
}

impl OnnxModel {
    /// Reads the network at `path`, which will run on `threads` threads of its own (at least 1).
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Foreign` when it is not ONNX, `Damaged` when it breaks the format's rules,
    /// `Unsupported` when it is too large or has an operator that the runtime lacks.
    pub fn load(path: &Path, threads: usize) -> Result<Self, InferError> {
        let size = fs::metadata(path)
            .map_err(|error| InferError::io(path, error))?
            .len();
        if size > MAX_FILE_BYTES {
            let message = format!("{size} bytes are more than an ONNX file may have (2 GiB)");
            return Err(InferError::new(InferErrorKind::Unsupported, path, message));
        }
        let bytes = fs::read(path).map_err(|error| InferError::io(path, error))?;
        Self::from_bytes(bytes, path, threads)
    }

    /// The network in these bytes; `path` names them in errors.
    ///
    /// # Errors
    /// As [`OnnxModel::load`].
    pub fn from_bytes(bytes: Vec<u8>, path: &Path, threads: usize) -> Result<Self, InferError> {
        if let Err(offset) = wire::check(&bytes) {
            let message = format!("not an ONNX file, or damaged at byte {offset}");
            return Err(InferError::new(InferErrorKind::Damaged, path, message));
        }
        let model = Model::load(bytes).map_err(|error| load_error(path, error))?;
        let threads = ThreadPool::with_num_threads(threads.max(1));
        Ok(Self {
            model: Arc::new(model),
            threads: Arc::new(threads),
            path: path.to_owned(),
        })
    }

    /// The file it was read from, for errors about what is in it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The result of `work`, done on this network's threads: a loop of many short runs inside spares each of them the way
    /// from one thread to another.
    pub fn within<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.threads.run(work)
    }

    /// The values of `outputs`, in that order, for these inputs. Blocks; allocates what the network needs.
    ///
    /// # Errors
    /// `Missing` for a name that the network lacks or an input that it needs, `Shape` for a tensor that does not fit.
    pub fn run(
        &self,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, InferError> {
        let node = |name: &str| -> Result<NodeId, InferError> {
            self.model.find_node(name).ok_or_else(|| {
                let message = format!("the network has no input or output called {name:?}");
                InferError::new(InferErrorKind::Missing, &self.path, message)
            })
        };
        let values = inputs
            .iter()
            .map(|(name, tensor)| Ok((node(name)?, self.value(name, tensor)?)))
            .collect::<Result<_, InferError>>()?;
        let outputs: Vec<NodeId> = outputs
            .iter()
            .map(|name| node(name))
            .collect::<Result<_, _>>()?;
        let options = RunOptions::default().with_thread_pool(Some(self.threads.clone()));
        let results = self
            .model
            .run(values, &outputs, Some(options))
            .map_err(|error| run_error(&self.path, error))?;
        results
            .into_iter()
            .map(|value| self.tensor(value))
            .collect()
    }

    fn value<'a>(&self, name: &str, tensor: &'a Tensor) -> Result<ValueOrView<'a>, InferError> {
        let shape = tensor.shape.as_slice();
        let value = match &tensor.data {
            TensorData::F32(data) => TensorView::try_from_data(shape, data.as_slice())
                .ok()
                .map(ValueOrView::from),
            TensorData::I64(data) => {
                let narrow = |&wide: &i64| wide.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
                let data = data.iter().map(narrow).collect();
                Value::from_shape::<i32>(shape, data)
                    .ok()
                    .map(ValueOrView::from)
            }
        };
        value.ok_or_else(|| {
            let message =
                format!("the input {name:?} has another number of elements than {shape:?}");
            InferError::new(InferErrorKind::Shape, &self.path, message)
        })
    }

    fn tensor(&self, value: Value) -> Result<Tensor, InferError> {
        let shape = value.shape().to_vec();
        let data = match value {
            Value::FloatTensor(tensor) => TensorData::F32(tensor.into_data()),
            Value::Int32Tensor(tensor) => {
                TensorData::I64(tensor.iter().map(|&x| x.into()).collect())
            }
            Value::Int8Tensor(tensor) => {
                TensorData::I64(tensor.iter().map(|&x| x.into()).collect())
            }
            Value::UInt8Tensor(tensor) => {
                TensorData::I64(tensor.iter().map(|&x| x.into()).collect())
            }
            _ => {
                let message = "an output is a sequence, not a tensor";
                return Err(InferError::new(
                    InferErrorKind::Unsupported,
                    &self.path,
                    message,
                ));
            }
        };
        Ok(Tensor { shape, data })
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "OnnxModel({}, {} weights)",
            self.path.display(),
            self.model.total_params()
        )
    }
}

fn load_error(path: &Path, error: LoadError) -> InferError {
    let (kind, message) = match error.kind() {
        LoadErrorKind::UnknownFileType | LoadErrorKind::FormatNotEnabled => {
            (InferErrorKind::Foreign, "not an ONNX file")
        }
        LoadErrorKind::OperatorInvalid => (
            InferErrorKind::Unsupported,
            "has an operator that cannot be run",
        ),
        LoadErrorKind::ExternalDataError => (
            InferErrorKind::Missing,
            "its external weights cannot be read",
        ),
        _ => (
            InferErrorKind::Damaged,
            "the file is damaged: download it again",
        ),
    };
    InferError::new(kind, path, format!("{message} ({error})")).caused_by(error)
}

fn run_error(path: &Path, error: RunError) -> InferError {
    let kind = match error.kind() {
        RunErrorKind::NodeNotFound | RunErrorKind::PlanningError => InferErrorKind::Missing,
        _ => InferErrorKind::Shape,
    };
    InferError::new(kind, path, format!("the network cannot run: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silero() -> PathBuf {
        sori_testing::shared("models/vad/silero_vad.onnx")
    }

    fn inputs() -> [(&'static str, Tensor); 3] {
        [
            ("input", Tensor::f32(&[1, 576], vec![0.0; 576])),
            ("state", Tensor::f32(&[2, 1, 128], vec![0.0; 256])),
            ("sr", Tensor::i64(&[], vec![16_000])),
        ]
    }

    #[test]
    fn a_network_runs_and_clones_share_it() {
        let model = OnnxModel::load(&silero(), 1).unwrap();
        let inputs = inputs();
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(name, tensor)| (*name, tensor))
            .collect();
        let found = model.run(&inputs, &["output", "stateN"]).unwrap();
        assert_eq!(
            (&found[0].shape[..], &found[1].shape[..]),
            (&[1, 1][..], &[2, 1, 128][..])
        );
        assert_eq!(
            model.clone().run(&inputs, &["output", "stateN"]).unwrap(),
            found
        );
        assert!((0.0..0.1).contains(&found[0].as_f32().unwrap()[0]));
    }

    #[test]
    fn a_wrong_call_is_an_error() {
        let model = OnnxModel::load(&silero(), 1).unwrap();
        type Break = fn(&mut [(&'static str, Tensor); 3]);
        let cases: &[(InferErrorKind, &str, Break)] = &[
            (InferErrorKind::Missing, "output", |inputs| {
                inputs[0].0 = "nothing"
            }),
            (InferErrorKind::Missing, "nothing", |_| ()),
            (InferErrorKind::Shape, "output", |inputs| {
                inputs[0].1.shape = vec![1, 500]
            }),
            (InferErrorKind::Shape, "output", |inputs| {
                inputs[2].1.shape = vec![2]
            }),
            (InferErrorKind::Shape, "output", |inputs| {
                inputs[1].1 = Tensor::f32(&[1], vec![0.0]);
            }),
        ];
        for (kind, output, damage) in cases {
            let mut inputs = inputs();
            damage(&mut inputs);
            let inputs: Vec<_> = inputs
                .iter()
                .map(|(name, tensor)| (*name, tensor))
                .collect();
            let error = model.run(&inputs, &[*output]).unwrap_err();
            assert_eq!(error.kind(), *kind, "{error}");
        }
    }

    #[test]
    fn files_that_are_no_network_are_errors() {
        let path = Path::new("x.onnx");
        let whole = fs::read(silero()).unwrap();
        for bytes in [
            vec![],
            b"RIFF".to_vec(),
            vec![0xff; 4096],
            whole[..whole.len() / 2].to_vec(),
        ] {
            let error = OnnxModel::from_bytes(bytes, path, 1).unwrap_err();
            let kinds = [InferErrorKind::Foreign, InferErrorKind::Damaged];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
        let error = OnnxModel::load(Path::new("nowhere.onnx"), 1).unwrap_err();
        assert_eq!(error.kind(), InferErrorKind::Io);
    }
}
