//! Where the domain stands in a recipient's path, and whether it is a name: an automaton over
//! tables.
//!
//! It reads one octet after the other; which ones is its caller's choice.

/// Longest label of a domain name, in octets (RFC 1035 2.3.4).
pub(super) const LABEL_MAX: usize = 63;

/// How far the reading of a path is: an automaton over a table, since a program that branches at
/// each octet has more paths than the kernel's verifier follows.
pub(super) struct Path {
    pub(super) state: u8,
    /// Where the name after the last `@` starts.
    pub(super) domain: usize,
    /// Where its last label starts.
    pub(super) label: usize,
}

impl Path {
    /// All of it in one integer; offsets are less than 2^16.
    #[inline(always)]
    pub(super) const fn packed(&self) -> usize {
        self.state as usize | self.label << 16 | self.domain << 32
    }

    #[inline(always)]
    pub(super) const fn unpacked(word: usize) -> Self {
        Self { state: word as u8, label: word >> 16 & 0xffff, domain: word >> 32 & 0xffff }
    }

    /// Reads the octet at `at`; the new state.
    #[inline(always)]
    pub(super) fn step(&mut self, octet: u8, at: usize) -> u8 {
        let class = CLASSES[octet as usize];
        let mut state = NEXT[(self.state << 3 | class) as usize % NEXT.len()];
        let ends_label = state == LABEL_STARTS && class == DOT || state == NAME_ENDS;
        if ends_label && at.wrapping_sub(self.label) > LABEL_MAX {
            state = if class == DOT { NO_NAME } else { NO_NAME_ENDS };
        }
        if state == LABEL_STARTS {
            self.label = at + 1;
            if class == AT {
                self.domain = at + 1;
            }
        }
        self.state = state;
        state
    }
}

/// Outside quotes, where no name can be.
pub(super) const NO_NAME: u8 = 0;
pub(super) const LABEL_STARTS: u8 = 1;
pub(super) const IN_LABEL: u8 = 2;
pub(super) const AFTER_HYPHEN: u8 = 3;
const QUOTED: u8 = 4;
const ESCAPED: u8 = 5;
/// The path ended with a name.
pub(super) const NAME_ENDS: u8 = 6;
/// The path ended without one.
pub(super) const NO_NAME_ENDS: u8 = 7;

const OTHER: u8 = 0;
const ALPHANUMERIC: u8 = 1;
const HYPHEN: u8 = 2;
const DOT: u8 = 3;
const AT: u8 = 4;
const QUOTE: u8 = 5;
const BACKSLASH: u8 = 6;
const END: u8 = 7;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [OTHER; 256];
    let mut octet = 0;
    while octet < 256 {
        classes[octet] = match octet as u8 {
            b'-' => HYPHEN,
            b'.' => DOT,
            b'@' => AT,
            b'"' => QUOTE,
            b'\\' => BACKSLASH,
            b'>' => END,
            other if other.is_ascii_alphanumeric() => ALPHANUMERIC,
            _ => OTHER,
        };
        octet += 1;
    }
    classes
}

/// A row for each state, a column for each class.
#[rustfmt::skip]
static NEXT: [u8; 64] = [
    // other    alphanumeric hyphen        dot           at            quote    backslash  end
    NO_NAME,    NO_NAME,     NO_NAME,      NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    NO_NAME,    IN_LABEL,    NO_NAME,      NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    NO_NAME,    IN_LABEL,    AFTER_HYPHEN, LABEL_STARTS, LABEL_STARTS, QUOTED,  NO_NAME,   NAME_ENDS,
    NO_NAME,    IN_LABEL,    AFTER_HYPHEN, NO_NAME,      LABEL_STARTS, QUOTED,  NO_NAME,   NO_NAME_ENDS,
    QUOTED,     QUOTED,      QUOTED,       QUOTED,       QUOTED,       NO_NAME, ESCAPED,   QUOTED,
    QUOTED,     QUOTED,      QUOTED,       QUOTED,       QUOTED,       QUOTED,  QUOTED,    QUOTED,
    NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS,
    NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS, NO_NAME_ENDS,
];
