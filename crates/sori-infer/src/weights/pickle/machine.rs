//! The stack machine.

use std::collections::HashMap;

use super::{Global, Heap, Pickle, Storage, Value, View};

/// The most opcodes that are followed; a checkpoint of a thousand tensors has some ten thousand.
const MAX_STEPS: usize = 2_000_000;
/// The most axes of a tensor.
const MAX_AXES: usize = 8;

/// Reads the pickle at the start of `bytes`.
///
/// # Errors
/// The offset of the opcode that does not fit or is not known.
pub(in super::super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, usize> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        heap: Heap::default(),
    };
    for _ in 0..MAX_STEPS {
        let start = machine.at;
        match machine.step() {
            Some(None) => {}
            Some(Some(root)) => {
                return Ok(Pickle {
                    root,
                    heap: machine.heap,
                    length: machine.at,
                });
            }
            None => return Err(start),
        }
    }
    Err(machine.at)
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack where a `MARK` is.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    /// One opcode: `None` when it fails, and the result at the end.
    fn step(&mut self) -> Option<Option<Value<'a>>> {
        match self.take::<1>()?[0] {
            b'.' => return self.pop().map(Some),
            opcode @ (b'(' | b'0' | b'1' | b'2' | b'q' | b'r' | 0x94 | b'h' | b'j') => {
                self.shuffle(opcode)?
            }
            opcode @ (b'}' | b']' | b')' | b't' | b'l' | b'd' | 0x85..=0x87) => {
                self.container(opcode)?
            }
            opcode @ (b'u' | b's' | b'e' | b'a') => self.fill(opcode)?,
            opcode @ (b'c' | 0x93 | b'R' | 0x81 | 0x92 | b'o' | b'i' | b'b' | b'Q') => {
                self.object(opcode)?
            }
            opcode => self.scalar(opcode)?,
        }
        Some(None)
    }

    /// Stack, marks and memo.
    fn shuffle(&mut self, opcode: u8) -> Option<()> {
        match opcode {
            b'(' => self.marks.push(self.stack.len()),
            // POP takes a mark away if it lies on top.
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'h' | b'j' => {
                let index = self.index(opcode == b'h')?;
                self.stack.push(*self.memo.get(&index)?);
            }
            _ => {
                let index = match opcode {
                    0x94 => u32::try_from(self.memo.len()).ok()?,
                    _ => self.index(opcode == b'q')?,
                };
                let top = self.top()?;
                self.memo.insert(index, top);
            }
        }
        Some(())
    }

    /// New tuples, lists and dictionaries.
    fn container(&mut self, opcode: u8) -> Option<()> {
        let value = match opcode {
            b'}' => self.dict(Vec::new()),
            b'd' => {
                let items = pairs(&self.pop_mark()?);
                self.dict(items)
            }
            b']' | b')' => self.list(Vec::new()),
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.list(items)
            }
            tuple => {
                let items = self.pop_many(usize::from(tuple - 0x84))?;
                self.list(items)
            }
        };
        self.stack.push(value);
        Some(())
    }

    /// Items into the container below them. What is no container here swallows them.
    fn fill(&mut self, opcode: u8) -> Option<()> {
        let items = match opcode {
            b'u' | b'e' => self.pop_mark()?,
            b's' => self.pop_many(2)?,
            _ => self.pop_many(1)?,
        };
        match self.top()? {
            Value::Dict(index) if matches!(opcode, b'u' | b's') => {
                self.heap.dicts[index].extend(pairs(&items));
            }
            Value::List(index) => self.heap.lists[index].extend(items),
            _ => {}
        }
        Some(())
    }

    /// Names of classes and functions, calls of them, and objects' states.
    fn object(&mut self, opcode: u8) -> Option<()> {
        let value = match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::global(module, name)
            }
            0x93 => match self.pop_many(2)?[..] {
                [Value::Text(module), Value::Text(name)] => Value::global(module, name),
                _ => Value::Opaque,
            },
            b'R' | 0x81 => {
                let items = self.pop_many(2)?;
                self.call(items[0], items[1])?
            }
            // NEWOBJ_EX, OBJ, INST: only unknown classes are made so.
            0x92 => self.pop_many(3).map(|_| Value::Opaque)?,
            b'o' => self.pop_mark().map(|_| Value::Opaque)?,
            b'i' => {
                self.line().and(self.line())?;
                self.pop_mark().map(|_| Value::Opaque)?
            }
            // BUILD: the state of an OrderedDict is its metadata, that of others is theirs.
            b'b' => return self.pop().map(drop),
            _ => {
                let id = self.pop()?;
                self.persistent(id)
            }
        };
        self.stack.push(value);
        Some(())
    }

    fn call(&mut self, callable: Value<'a>, arguments: Value<'a>) -> Option<Value<'a>> {
        let Value::List(arguments) = arguments else {
            return Some(Value::Opaque);
        };
        let arguments = &self.heap.lists[arguments];
        Some(match callable {
            Value::Global(Global::Dict) => self.dict(Vec::new()),
            Value::Global(Global::Parameter) => arguments.first().copied()?,
            Value::Global(Global::Tensor) => {
                let [
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::List(shape),
                    Value::List(strides),
                    ..,
                ] = arguments[..]
                else {
                    return Some(Value::Opaque);
                };
                let view = View {
                    storage,
                    offset: u64::try_from(offset).ok()?,
                    shape: self.sizes(shape)?,
                    strides: self.sizes(strides)?,
                };
                if view.shape.len() != view.strides.len() {
                    return None;
                }
                self.heap.tensors.push(view);
                Value::Tensor(self.heap.tensors.len() - 1)
            }
            _ => Value::Opaque,
        })
    }

    fn sizes<T: TryFrom<i64>>(&self, list: usize) -> Option<Vec<T>> {
        let items = &self.heap.lists[list];
        if items.len() > MAX_AXES {
            return None;
        }
        items
            .iter()
            .map(|item| match item {
                Value::Int(size) => T::try_from(*size).ok(),
                _ => None,
            })
            .collect()
    }

    /// torch/serialization.py: `("storage", type, key, location, elements)`, and `None` before PyTorch 1.6, where views of
    /// storages are long gone.
    fn persistent(&mut self, id: Value<'a>) -> Value<'a> {
        let Value::List(id) = id else {
            return Value::Opaque;
        };
        match self.heap.lists[id][..] {
            [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Int(count),
            ]
            | [
                Value::Text("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Text(key),
                _,
                Value::Int(count),
                Value::Opaque,
            ] => {
                let count = u64::try_from(count).unwrap_or(0);
                self.heap.storages.push(Storage { key, dtype, count });
                Value::Storage(self.heap.storages.len() - 1)
            }
            _ => Value::Opaque,
        }
    }

    /// Numbers, texts, and values that do not matter here.
    fn scalar(&mut self, opcode: u8) -> Option<()> {
        let value = match opcode {
            0x80 => return self.skip(1),
            0x95 => return self.skip(8),
            b'N' | 0x8f => Value::Opaque,
            0x88 => Value::Int(1),
            0x89 => Value::Int(0),
            b'K' => Value::Int(self.take::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.take()?).into()),
            0x8a | 0x8b => self.long(opcode)?,
            b'G' => self.skip(8).map(|()| Value::Opaque)?,
            b'X' | 0x8c | 0x8d => {
                let text = self.counted(opcode)?;
                Value::Text(std::str::from_utf8(text).ok()?)
            }
            b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => {
                // Texts of Python 2 are bytes; a name in them is still a name.
                let bytes = self.counted(opcode)?;
                std::str::from_utf8(bytes).map_or(Value::Opaque, Value::Text)
            }
            // ADDITEMS, FROZENSET.
            0x90 => return self.pop_mark().map(drop),
            0x91 => self.pop_mark().map(|_| Value::Opaque)?,
            _ => return None,
        };
        self.stack.push(value);
        Some(())
    }

    /// LONG1 and LONG4, little-endian two's complement; opaque beyond 64 bits.
    fn long(&mut self, opcode: u8) -> Option<Value<'a>> {
        let length = match opcode {
            0x8a => usize::from(self.take::<1>()?[0]),
            _ => usize::try_from(i32::from_le_bytes(self.take()?)).ok()?,
        };
        let raw = self.slice(length)?;
        let Some(last) = raw.last().filter(|_| length <= 8) else {
            return Some(if length == 0 {
                Value::Int(0)
            } else {
                Value::Opaque
            });
        };
        let mut wide = if last & 0x80 == 0 { [0; 8] } else { [0xff; 8] };
        wide[..length].copy_from_slice(raw);
        Some(Value::Int(i64::from_le_bytes(wide)))
    }

    /// Bytes behind their count, of one, four or eight bytes.
    fn counted(&mut self, opcode: u8) -> Option<&'a [u8]> {
        let length = match opcode {
            0x8c | b'U' | b'C' => u64::from(self.take::<1>()?[0]),
            b'X' | b'T' | b'B' => u32::from_le_bytes(self.take()?).into(),
            _ => u64::from_le_bytes(self.take()?),
        };
        self.slice(usize::try_from(length).ok()?)
    }

    fn index(&mut self, is_short: bool) -> Option<u32> {
        Some(if is_short {
            self.take::<1>()?[0].into()
        } else {
            u32::from_le_bytes(self.take()?)
        })
    }

    fn dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        self.heap.dicts.push(items);
        Value::Dict(self.heap.dicts.len() - 1)
    }

    fn list(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        self.heap.lists.push(items);
        Value::List(self.heap.lists.len() - 1)
    }

    fn top(&self) -> Option<Value<'a>> {
        self.stack.last().copied()
    }

    fn pop(&mut self) -> Option<Value<'a>> {
        self.stack.pop()
    }

    fn pop_many(&mut self, count: usize) -> Option<Vec<Value<'a>>> {
        let at = self.stack.len().checked_sub(count)?;
        Some(self.stack.split_off(at))
    }

    fn pop_mark(&mut self) -> Option<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len())?;
        Some(self.stack.split_off(mark))
    }

    fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let found = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.slice(count).map(drop)
    }

    fn line(&mut self) -> Option<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(4096).position(|&byte| byte == b'\n')?;
        let line = self.slice(length)?;
        self.skip(1)?;
        std::str::from_utf8(line).ok()
    }
}

fn pairs<'a>(items: &[Value<'a>]) -> Vec<(Value<'a>, Value<'a>)> {
    items
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&[k, v]| (k, v))
        .collect()
}
