//! Deserializer that reads structures from objects alone, and names alone into variants without
//! content.
//!
//! The code that serde derives for a structure also takes a list of its fields in order, so that
//! `["EUR", "1.00"]` would read as an amount; and a variant without content is also read from
//! `{"name": null}`. Both are refused here, at every depth. So is a name that an open object (a
//! map) has twice; of a structure's own fields, serde's derive refuses that.
//!
//! Fields that `#[serde(untagged)]` and `#[serde(flatten)]` hold back and read later are not seen
//! here: wire types have neither, and use [`Split`] instead.

use std::collections::HashSet;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, de};

/// Strictness for texts and names that the standard limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// No longer than their fields, and known names only: requests, and answers at first.
    Exact,
    /// As they are written, up to a limit of our own: answers that deviate from the standard.
    Tolerant,
}

/// The name under which types ask for a text that [`Manner::Tolerant`] leaves as it is. They take
/// it exactly, unless it is handed to them as bytes: no JSON has these.
pub(crate) const OPEN_TEXT: &str = "$shared-types/open-text";

/// Wraps a deserializer, and each part of serde's that leads to a nested one.
pub(super) struct Strict<T>(pub(super) T, pub(super) Manner);

macro_rules! forward {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Strict(visitor, self.1))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_identifier();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0
            .deserialize_struct(name, fields, Structure(Strict(visitor, self.1)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name == OPEN_TEXT && self.1 == Manner::Tolerant {
            return self.0.deserialize_str(Bytes(visitor));
        }
        self.0
            .deserialize_newtype_struct(name, Strict(visitor, self.1))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Enumeration(Strict(visitor, self.1)))
    }

    /// Nothing of it is kept.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_ignored_any(visitor)
    }
}

macro_rules! pass {
    ($($method:ident: $kind:ty;)*) => {
        $(fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Strict<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    pass! {
        visit_bool: bool;
        visit_i64: i64;
        visit_i128: i128;
        visit_u64: u64;
        visit_u128: u128;
        visit_f64: f64;
        visit_char: char;
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Strict(deserializer, self.1))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Strict(deserializer, self.1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Strict(seq, self.1))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Distinct {
            map: Strict(map, self.1),
            names: HashSet::new(),
        })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer, self.1))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed, self.1))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Strict(seed, self.1))
    }
}

/// Members of an open object, no two of one name.
struct Distinct<A> {
    map: A,
    names: HashSet<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Distinct<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else {
            return Ok(None);
        };
        let value = seed.deserialize(StrDeserializer::new(&name))?;
        if !self.names.insert(name) {
            return Err(A::Error::custom("a name is there twice"));
        }
        Ok(Some(value))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Visitor that hands a text over as bytes.
struct Bytes<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Bytes<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.0.visit_bytes(text.as_bytes())
    }
}

/// Visitor of a structure: an object, and nothing else.
struct Structure<V>(Strict<V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for Structure<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self(Strict(visitor, manner)) = self;
        visitor.visit_map(Strict(map, manner))
    }
}

/// Visitor of an enumeration: a name, or an object with one member whose name is that of a variant
/// with content.
struct Enumeration<V>(Strict<V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for Enumeration<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one of the known names")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        self.0.0.visit_enum(name.into_deserializer())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self(Strict(visitor, manner)) = self;
        visitor.visit_enum(Variant(Strict(map, manner)))
    }
}

/// A variant with content: the one member of an object.
struct Variant<A>(A);

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Variant<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<(S::Value, Self), A::Error> {
        match self.0.next_key_seed(seed)? {
            Some(name) => Ok((name, self)),
            None => Err(A::Error::invalid_length(0, &"an object with one member")),
        }
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Variant<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::invalid_type(
            Unexpected::Map,
            &"one of the known names",
        ))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(
        mut self,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Map, &visitor))
    }
}

/// An object that holds either one member of a certain name, or the fields of `T`: where banks
/// follow an example of the standard's against its schema.
pub(crate) struct Split<T, M> {
    /// The member of that name.
    pub(crate) member: Option<M>,
    /// The rest, read as `T`; a message where it is none.
    pub(crate) rest: Result<T, String>,
    /// Whether there was another member.
    pub(crate) other_seen: bool,
}

impl<T, M> Split<T, M> {
    /// Reads the object; `name` is that of the member.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
        name: &'static str,
    ) -> Result<Self, D::Error>
    where
        T: Deserialize<'de>,
        M: Deserialize<'de>,
    {
        struct Object<T, M>(&'static str, std::marker::PhantomData<(T, M)>);

        impl<'de, T: Deserialize<'de>, M: Deserialize<'de>> Visitor<'de> for Object<T, M> {
            type Value = Split<T, M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let mut others = Others {
                    map,
                    name: self.0,
                    member: None,
                    other_seen: false,
                    ended: false,
                };
                let rest = T::deserialize(MapAccessDeserializer::new(&mut others));
                // What stops within the object leaves the rest of it unread.
                if !others.ended {
                    return Err(rest
                        .err()
                        .unwrap_or_else(|| A::Error::custom("an object that was not read whole")));
                }
                Ok(Split {
                    other_seen: others.other_seen,
                    member: others.member,
                    rest: rest.map_err(|fault| fault.to_string()),
                })
            }
        }

        deserializer.deserialize_struct("", &[], Object(name, std::marker::PhantomData::<(T, M)>))
    }
}

/// The members of an object but one, which is kept.
struct Others<A, M> {
    map: A,
    name: &'static str,
    member: Option<M>,
    other_seen: bool,
    ended: bool,
}

impl<'de, A: MapAccess<'de>, M: de::Deserialize<'de>> MapAccess<'de> for &mut Others<A, M> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        while let Some(name) = self.map.next_key::<String>()? {
            if name != self.name {
                self.other_seen = true;
                return seed.deserialize(StrDeserializer::new(&name)).map(Some);
            }
            if self.member.is_some() {
                return Err(A::Error::duplicate_field(self.name));
            }
            self.member = Some(self.map.next_value()?);
        }
        self.ended = true;
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}
