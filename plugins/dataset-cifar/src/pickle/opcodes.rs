//! The opcodes of pickle with the names of `pickletools`. Protocols up to 5 have no others.

macro_rules! opcodes {
    (
        read { $($name:ident = $byte:literal,)* }
        refused { $($other:ident = $refused:literal,)* }
    ) => {
        $(pub(super) const $name: u8 = $byte;)*

        /// Name and byte, for messages.
        pub(super) fn name(opcode: u8) -> String {
            let name = match opcode {
                $($byte => stringify!($name),)*
                $($refused => stringify!($other),)*
                _ => return format!("{opcode:#04x} (unknown)"),
            };
            format!("{name} ({opcode:#04x})")
        }
    };
}

opcodes! {
    read {
        MARK = b'(', STOP = b'.', FRAME = 0x95,
        NONE = b'N', NEWTRUE = 0x88, NEWFALSE = 0x89,
        BININT = b'J', BININT1 = b'K', BININT2 = b'M', LONG1 = 0x8a, BINFLOAT = b'G',
        SHORT_BINSTRING = b'U', BINSTRING = b'T',
        SHORT_BINBYTES = b'C', BINBYTES = b'B', BINBYTES8 = 0x8e, BYTEARRAY8 = 0x96,
        SHORT_BINUNICODE = 0x8c, BINUNICODE = b'X', BINUNICODE8 = 0x8d,
        EMPTY_LIST = b']', APPEND = b'a', APPENDS = b'e',
        EMPTY_TUPLE = b')', TUPLE = b't', TUPLE1 = 0x85, TUPLE2 = 0x86, TUPLE3 = 0x87,
        EMPTY_DICT = b'}', SETITEM = b's', SETITEMS = b'u',
        BINGET = b'h', LONG_BINGET = b'j', BINPUT = b'q', LONG_BINPUT = b'r', MEMOIZE = 0x94,
        GLOBAL = b'c', STACK_GLOBAL = 0x93, REDUCE = b'R', BUILD = b'b',
    }
    refused {
        PROTO = 0x80, INT = b'I', LONG = b'L', LONG4 = 0x8b, FLOAT = b'F', STRING = b'S', UNICODE = b'V',
        LIST = b'l', DICT = b'd', EMPTY_SET = 0x8f, ADDITEMS = 0x90, FROZENSET = 0x91,
        POP = b'0', POP_MARK = b'1', DUP = b'2', GET = b'g', PUT = b'p',
        INST = b'i', OBJ = b'o', NEWOBJ = 0x81, NEWOBJ_EX = 0x92, PERSID = b'P', BINPERSID = b'Q',
        EXT1 = 0x82, EXT2 = 0x83, EXT4 = 0x84, NEXT_BUFFER = 0x97, READONLY_BUFFER = 0x98,
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn every_opcode_of_pickle_has_a_name() {
        assert_eq!((0..=255).filter(|opcode| !name(*opcode).contains("unknown")).count(), 68);
        assert_eq!((name(b'i'), name(0xff)), ("INST (0x69)".into(), "0xff (unknown)".into()));
    }
}
