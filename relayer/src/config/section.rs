//! One source of truth for settings: a section declares field, type, default and documentation together, and from that come
//! the struct, `--print-config`, `config.example.toml` and the list of known keys.

/// Documentation of one key.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name in the file.
    pub name: &'static str,
    /// Its documentation, one string a line.
    pub doc: &'static [&'static str],
    /// Whether its value is shown as `<redacted>`.
    pub secret: bool,
}

/// A section of the configuration.
pub trait Section: Default + serde::Serialize {
    /// What the section is about, one string a line.
    const DOC: &'static [&'static str];
    /// Every key.
    const FIELDS: &'static [Field];
}

/// Declares a [`Section`]. `secret` in front of a field hides its value when settings are printed.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $(#[serde($($serde:tt)*)])?
                $(@$secret:ident)? $field:ident : $type:ty = $default:expr,
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])+
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::section::Section for $name {
            const DOC: &'static [&'static str] = &[$($doc),+];
            const FIELDS: &'static [$crate::config::section::Field] = &[
                $( $crate::config::section::Field {
                    name: stringify!($field),
                    doc: &[$($field_doc),+],
                    secret: $crate::config::section::is_secret(&[$(stringify!($secret))?]),
                }, )+
            ];
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut out = f.debug_struct(stringify!($name));
                $(
                    if $crate::config::section::is_secret(&[$(stringify!($secret))?]) {
                        out.field(stringify!($field), &"<redacted>");
                    } else {
                        out.field(stringify!($field), &self.$field);
                    }
                )+
                out.finish()
            }
        }
    };
}
pub(crate) use section;

/// Whether the marks in front of a field say `secret`.
#[must_use]
pub const fn is_secret(marks: &[&str]) -> bool {
    !marks.is_empty()
}
