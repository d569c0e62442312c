//! Macros that declare types of JSON request and response bodies.

/// Declares an enum of string values: a variant for each value in the standard, and `Other` for
/// any other value.
macro_rules! open_enum {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident { $($(#[$doc:meta])* $variant:ident = $value:literal,)* }
        $(#[$other:meta])*
        Other($string:ty)
    ) => {
        $(#[$attribute])*
        pub enum $type {
            $($(#[$doc])* $variant,)*
            $(#[$other])*
            Other($string),
        }

        impl $type {
            /// All variants except `Other`.
            pub const STANDARD: &[Self] = &[$(Self::$variant,)*];

            /// Returns the variant for a value in JSON.
            fn from_value(value: $string) -> Self {
                match value.as_str() {
                    $($value => Self::$variant,)*
                    _ => Self::Other(value),
                }
            }

            /// The value in JSON.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $value,)*
                    Self::Other(value) => value.as_str(),
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

/// Declares a constructor `of` that takes the required fields of a type and sets the optional ones
/// to `None`.
macro_rules! required_fields_constructor {
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

pub(crate) use {open_enum, required_fields_constructor};
