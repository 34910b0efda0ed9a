//! The macro with which a plugin crate declares a plugin.

/// Declares a plugin: its parameters with documentation and defaults, and its entry in the registry of its kind.
///
/// ```
/// use temper_core::prelude::*;
///
/// plugin! { Attack "stand-still";
///     /// Returns the clean image.
///     pub struct StandStill {
///         /// Times to do nothing.
///         pub steps: NonZeroUsize = nonzero(1),
///     }
/// }
///
/// impl Attack for StandStill {
///     fn perturb(&self, victim: &Victim, _ball: &Ball, _rng: &Rng) -> Result<Tensor> {
///         Ok(victim.pixels().clone())
///     }
/// }
///
/// let chosen = Chosen::<dyn Attack>::by_name("stand-still").unwrap();
/// assert_eq!(chosen.params()["steps"].as_integer(), Some(1));
/// ```
#[macro_export]
macro_rules! plugin {
    ($kind:ident $name:literal;
        $(#[doc = $doc:literal])*
        pub struct $type:ident {
            $( $(#[doc = $param_doc:literal])* pub $param:ident: $param_type:ty = $default:expr, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, $crate::__private::serde::Serialize, $crate::__private::serde::Deserialize)]
        #[serde(crate = "temper_core::__private::serde", default, deny_unknown_fields)]
        pub struct $type { $( $(#[doc = $param_doc])* pub $param: $param_type, )* }

        impl Default for $type {
            fn default() -> Self {
                Self { $( $param: $default, )* }
            }
        }

        impl $type {
            fn __table(
                &self,
            ) -> ::std::result::Result<$crate::__private::toml::Table, $crate::__private::toml::ser::Error> {
                $crate::__private::toml::Table::try_from(self)
            }
        }

        $crate::__private::inventory::submit! {
            $crate::Plugin::<dyn $crate::$kind> {
                name: $name,
                package: env!("CARGO_PKG_NAME"),
                doc: &[$($doc),*],
                params: &[$($crate::Param {
                    name: stringify!($param),
                    doc: &[$($param_doc),*],
                    expects: <$param_type as $crate::Field>::expects,
                    schema: |generator| generator.subschema_for::<$param_type>(),
                }),*],
                // Defaults are plain values that serialise; tests of the registry check this.
                defaults: || $type::default().__table().unwrap_or_default(),
                parse: |deserializer| {
                    let value = $crate::__private::erased_serde::deserialize::<$type>(deserializer)?;
                    // Values that TOML cannot represent (numbers beyond 63 bits) cannot be stored with the
                    // run.
                    let table = value.__table().map_err($crate::__private::serde::de::Error::custom)?;
                    Ok((Box::new(value), table))
                },
            }
        }
    };
}
