//! Types of elements.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of safetensors")]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    F8E5M2,
    F8E4M3,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
    C128,
    C64,
}

/// Each type, its name in torch, and the name of its storage class in torch, empty if it has none.
const TORCH: [(Dtype, &str, &str); 17] = [
    (Dtype::F64, "float64", "DoubleStorage"),
    (Dtype::F32, "float32", "FloatStorage"),
    (Dtype::F16, "float16", "HalfStorage"),
    (Dtype::BF16, "bfloat16", "BFloat16Storage"),
    (Dtype::F8E5M2, "float8_e5m2", ""),
    (Dtype::F8E4M3, "float8_e4m3fn", ""),
    (Dtype::I64, "int64", "LongStorage"),
    (Dtype::I32, "int32", "IntStorage"),
    (Dtype::I16, "int16", "ShortStorage"),
    (Dtype::I8, "int8", "CharStorage"),
    (Dtype::U64, "uint64", ""),
    (Dtype::U32, "uint32", ""),
    (Dtype::U16, "uint16", ""),
    (Dtype::U8, "uint8", "ByteStorage"),
    (Dtype::Bool, "bool", "BoolStorage"),
    (Dtype::C128, "complex128", "ComplexDoubleStorage"),
    (Dtype::C64, "complex64", "ComplexFloatStorage"),
];

impl Dtype {
    /// Size of an element in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::C128 => 16,
            Self::F64 | Self::I64 | Self::U64 | Self::C64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E5M2 | Self::F8E4M3 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// Size in bytes of the words that byte order applies to: a complex number is two words.
    pub(crate) fn word(self) -> usize {
        match self {
            Self::C128 | Self::C64 => self.size() / 2,
            _ => self.size(),
        }
    }

    /// The type with this name in torch, as in `torch.float32`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        TORCH.iter().find(|(_, own, _)| *own == name).map(|(dtype, ..)| *dtype)
    }

    /// The type of a storage of this class, as in `torch.FloatStorage`.
    pub(crate) fn of_storage(class: &str) -> Option<Self> {
        TORCH.iter().find(|(.., own)| !own.is_empty() && *own == class).map(|(dtype, ..)| *dtype)
    }

    /// The type that corresponds to a type of safetensors, if it is supported.
    pub(crate) fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype as Of;
        Some(match dtype {
            Of::F64 => Self::F64,
            Of::F32 => Self::F32,
            Of::F16 => Self::F16,
            Of::BF16 => Self::BF16,
            Of::F8_E5M2 => Self::F8E5M2,
            Of::F8_E4M3 => Self::F8E4M3,
            Of::I64 => Self::I64,
            Of::I32 => Self::I32,
            Of::I16 => Self::I16,
            Of::I8 => Self::I8,
            Of::U64 => Self::U64,
            Of::U32 => Self::U32,
            Of::U16 => Self::U16,
            Of::U8 => Self::U8,
            Of::BOOL => Self::Bool,
            Of::C64 => Self::C64,
            _ => return None,
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
