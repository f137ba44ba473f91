//! Which instructions this machine's CPU has: a token that only a check of the CPU can make.

use std::fmt;

/// The instruction sets that kernels are written for; of one maker's, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Portable,
    Neon,
    NeonDot,
    NeonI8mm,
    Avx2,
    Avx2Vnni,
    Avx512,
    Avx512Vnni,
    Avx512Bf16,
}

const LEVELS: [(Level, &str); 9] = [
    (Level::Avx512Bf16, "avx512-bf16"),
    (Level::Avx512Vnni, "avx512-vnni"),
    (Level::Avx512, "avx512"),
    (Level::Avx2Vnni, "avx2-vnni"),
    (Level::Avx2, "avx2"),
    (Level::NeonI8mm, "neon-i8mm"),
    (Level::NeonDot, "neon-dot"),
    (Level::Neon, "neon"),
    (Level::Portable, "portable"),
];

/// An instruction set that the CPU of this machine has; holding one is the proof.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Isa(Level);

/// A name that no instruction set has, or one that this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa {
    name: String,
}

impl Isa {
    /// All sets of this machine, best first; the last is `portable`, which every machine has.
    pub fn available() -> impl Iterator<Item = Self> {
        LEVELS
            .into_iter()
            .filter(|&(level, _)| present(level))
            .map(|(level, _)| Self(level))
    }

    /// The best set of this machine.
    pub fn best() -> Self {
        Self::available()
            .next()
            .expect("every machine has the portable set")
    }

    /// The set with a name such as `avx512-bf16`, `avx512-vnni`, `avx512`, `avx2-vnni`, `avx2`, `neon-i8mm`, `neon-dot`, `neon` or
    /// `portable`.
    ///
    /// # Errors
    /// When no set has the name, or this machine lacks it.
    pub fn named(name: &str) -> Result<Self, UnknownIsa> {
        Self::available()
            .find(|isa| isa.name() == name)
            .ok_or_else(|| UnknownIsa {
                name: name.to_owned(),
            })
    }

    /// The name that [`Isa::named`] takes.
    pub fn name(self) -> &'static str {
        let found = LEVELS.iter().find(|(level, _)| *level == self.0);
        found.expect("every level has a name").1
    }

    /// Whether it has instructions for products of 8-bit integers that do more at once than those for f32.
    pub fn prefers_int8(self) -> bool {
        !matches!(self.0, Level::Portable | Level::Neon)
    }

    /// The largest activation that integer products take without overflow.
    pub(crate) fn top_activation(self) -> f32 {
        match self.0 {
            Level::Avx2 | Level::Avx512 | Level::Neon | Level::NeonDot => 127.0,
            _ => 255.0,
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Isa::available().map(Isa::name).collect();
        write!(
            f,
            "no instruction set of this machine is called \"{}\": choose from {}",
            self.name,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownIsa {}

#[cfg(target_arch = "x86_64")]
fn present(level: Level) -> bool {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma");
    let avx512 =
        avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
    match level {
        Level::Portable => true,
        Level::Avx2 => avx2,
        Level::Avx2Vnni => avx2 && has!("avxvnni"),
        Level::Avx512 => avx512,
        Level::Avx512Vnni => avx512 && has!("avx512vnni"),
        Level::Avx512Bf16 => avx512 && has!("avx512vnni") && has!("avx512bf16"),
        Level::Neon | Level::NeonDot | Level::NeonI8mm => false,
    }
}

#[cfg(target_arch = "aarch64")]
fn present(level: Level) -> bool {
    use std::arch::is_aarch64_feature_detected as has;
    match level {
        Level::Portable => true,
        Level::Neon => has!("neon"),
        Level::NeonDot => has!("neon") && has!("dotprod"),
        Level::NeonI8mm => has!("neon") && has!("dotprod") && has!("i8mm"),
        _ => false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn present(level: Level) -> bool {
    level == Level::Portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_the_sets_of_this_machine() {
        for isa in Isa::available() {
            assert_eq!(Isa::named(isa.name()), Ok(isa));
        }
        assert!(Isa::available().any(|isa| isa.name() == "portable"));
        // Where an emulator runs this, it says what it emulates.
        if let Ok(expected) = std::env::var("SORI_EXPECT_ISA") {
            assert_eq!(Isa::best().name(), expected);
        }
        let message = Isa::named("sse9").unwrap_err().to_string();
        assert!(
            message.contains("sse9") && message.contains("portable"),
            "{message}"
        );
    }
}
