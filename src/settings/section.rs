//! How a section of the settings is written.

/// A section: every field with its default, and its bounds where it is a number.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty = $default:expr $(, in $bounds:expr)?;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// The least and the greatest value of a number.
            fn bounds(field: &str) -> Option<RangeInclusive<u64>> {
                match field {
                    $($(stringify!($field) => Some($bounds),)?)*
                    _ => None,
                }
            }
        }
    };
}
