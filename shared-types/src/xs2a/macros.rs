//! Macros that declare wire types.

/// Declares an enumeration of the standard's names, and one variant for names that are not among
/// them.
macro_rules! open_enum {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident { $($(#[$doc:meta])* $name:ident = $wire:literal,)* }
        $(#[$other:meta])*
        Other($text:ty)
    ) => {
        $(#[$attribute])*
        pub enum $type {
            $($(#[$doc])* $name,)*
            $(#[$other])*
            Other($text),
        }

        impl $type {
            /// The variants that the standard names.
            pub const STANDARD: &[Self] = &[$(Self::$name,)*];

            /// The variant of that name.
            fn of(name: $text) -> Self {
                match name.as_str() {
                    $($wire => Self::$name,)*
                    _ => Self::Other(name),
                }
            }

            /// The name on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $wire,)*
                    Self::Other(name) => name.as_str(),
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// Writes the constructor of a wire type from its required fields; the others are `None`.
macro_rules! with_required {
    (
        $(#[$doc:meta])*
        $type:ident::of($($required:ident: $kind:ty),+)
        $($optional:ident)+
    ) => {
        impl $type {
            $(#[$doc])*
            #[must_use]
            pub fn of($($required: $kind),+) -> Self {
                Self { $($required,)+ $($optional: None,)+ }
            }
        }
    };
}

pub(crate) use {open_enum, with_required};
