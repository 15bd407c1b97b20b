//! seccomp: which system calls fail, and how.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads, sock_filter,
};

use crate::numbers::number;

/// One comparison of an argument, of which the kernel reads the low 32 bits.
pub struct Condition {
    pub argument: u8,
    pub comparison: Comparison,
    pub value: u32,
}

/// How an argument is compared with a value.
#[derive(Clone, Copy)]
pub enum Comparison {
    Equal,
    NotEqual,
    /// Every bit of the value is set in the argument.
    HasBits,
}

/// A system call that fails with `errno`, when all conditions hold.
pub struct Denial {
    pub call: String,
    pub errno: u32,
    pub when: Vec<Condition>,
}

/// Let the denied calls of this process, and of all that it starts, fail from now on.
///
/// Calls with numbers from `first_unknown` on fail with `ENOSYS`: new ones, and on `x86_64` those of the
/// x32 ABI, which would lead around every other rule. Calls of another architecture end the process.
/// A call that this architecture doesn't have needs no denial. Source: seccomp(2).
///
/// # Errors
/// `ENOSYS` where the architecture is not one of `x86_64`, `aarch64` and `riscv64`; what the kernel said;
/// `InvalidInput` when a denial is not well formed.
pub fn deny(denials: &[Denial], first_unknown: u32) -> io::Result<()> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)
        .map_err(|_| io::Error::from_raw_os_error(libc::ENOSYS))?;
    let mut programs = vec![unknown_calls(first_unknown)];
    for (errno, rules) in by_errno(denials)? {
        let program = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(errno),
            architecture,
        )
        .and_then(BpfProgram::try_from)
        .map_err(invalid)?;
        programs.push(program);
    }
    programs.iter().try_for_each(|program| {
        apply_filter_all_threads(program).map_err(|error| match error {
            Error::Prctl(source) | Error::Seccomp(source) => source,
            other => io::Error::other(other),
        })
    })
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// One program answers with one error, so there is one for each.
fn by_errno(denials: &[Denial]) -> io::Result<BTreeMap<u32, Rules>> {
    let mut groups: BTreeMap<u32, Rules> = BTreeMap::new();
    for denial in denials {
        let Some(number) = number(&denial.call)? else {
            continue;
        };
        let alternatives = groups
            .entry(denial.errno)
            .or_default()
            .entry(number)
            .or_default();
        if !denial.when.is_empty() {
            let conditions = denial.when.iter().map(condition).collect::<Result<_, _>>();
            let rule = conditions.and_then(SeccompRule::new).map_err(invalid)?;
            alternatives.push(rule);
        }
    }
    Ok(groups)
}

fn condition(condition: &Condition) -> Result<SeccompCondition, seccompiler::BackendError> {
    let value = u64::from(condition.value);
    let operator = match condition.comparison {
        Comparison::Equal => SeccompCmpOp::Eq,
        Comparison::NotEqual => SeccompCmpOp::Ne,
        Comparison::HasBits => SeccompCmpOp::MaskedEq(value),
    };
    SeccompCondition::new(condition.argument, SeccompCmpArgLen::Dword, operator, value)
}

fn invalid(error: seccompiler::BackendError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// A program for which the library has no words, since its rules are single numbers.
fn unknown_calls(first_unknown: u32) -> BpfProgram {
    // Source: linux/bpf_common.h; the number is the first field of struct seccomp_data.
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let statement = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    vec![
        statement(LOAD_WORD, 0, 0),
        statement(JUMP_IF_AT_LEAST, 1, first_unknown),
        statement(RETURN, 0, libc::SECCOMP_RET_ALLOW),
        statement(
            RETURN,
            0,
            SeccompAction::Errno(libc::ENOSYS.unsigned_abs()).into(),
        ),
    ]
}
