//! One declaration, from which both the table and the type are made.

/// Declares operations: each gives a type with one field a member, and the table from which it is read.
///
/// ```text
/// operations! {
///     /// What it does.
///     CreateThing: "POST" "/things/{thingName}" {
///         thing_name: ThingName = path "thingName" NAME,
///         principal: Arn = header("x-amzn-principal") "principal" TEXT,
///         document: Option<Blob> = payload "document" BYTES,
///     }
/// }
/// ```
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident: $method:literal $path:literal {
        $($field:ident: $type:ty = $location:ident $(($wire:literal))? $member:literal $shape:expr),* $(,)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!("Member `", $member, "`.")]
                pub $field: $type,
            )*
        }

        impl $crate::shape::Input for $name {
            const OPERATION: $crate::shape::Operation = $crate::shape::Operation {
                name: stringify!($name),
                method: $method,
                path: $path,
                members: &[$($crate::shape::member!($type, $location $(($wire))? $member, $shape)),*],
            };

            #[allow(unused_variables, reason = "an operation may take nothing")]
            fn from_members(members: &mut $crate::shape::Members) -> Result<Self, $crate::shape::BadInput> {
                Ok(Self { $($field: members.take($member)?),* })
            }
        }
    )*};
}
pub(crate) use operations;

/// Declares structures within bodies: each gives a type and its shape.
macro_rules! structures {
    ($($(#[$doc:meta])* $name:ident, $shape_name:ident {
        $($field:ident: $type:ty = $member:literal $shape:expr),* $(,)?
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $(
                #[doc = concat!("Member `", $member, "`.")]
                pub $field: $type,
            )*
        }

        #[doc = concat!("The shape of [`", stringify!($name), "`].")]
        pub const $shape_name: $crate::shape::Shape =
            $crate::shape::Shape::Structure(&[$($crate::shape::member!($type, body $member, $shape)),*]);

        impl $crate::shape::Typed for $name {
            fn from_value(value: serde_json::Value) -> Result<Self, String> {
                let serde_json::Value::Object(members) = value else {
                    return Err("Member must be an object".to_owned());
                };
                let mut members = $crate::shape::Members::from(members);
                Ok(Self { $($field: members.take($member).map_err(|err| err.to_string())?),* })
            }
        }
    )*};
}
pub(crate) use structures;

/// One row of a table.
macro_rules! member {
    ($type:ty, path $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Path, $member, $member, $shape)
    };
    ($type:ty, path($wire:literal) $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Path, $wire, $member, $shape)
    };
    ($type:ty, query $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Query, $member, $member, $shape)
    };
    ($type:ty, query($wire:literal) $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Query, $wire, $member, $shape)
    };
    ($type:ty, header($wire:literal) $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Header, $wire, $member, $shape)
    };
    ($type:ty, payload $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Payload, $member, $member, $shape)
    };
    ($type:ty, body $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Body, $member, $member, $shape)
    };
    ($type:ty, form $member:literal, $shape:expr) => {
        $crate::shape::member!(@ $type, Form, $member, $member, $shape)
    };
    (@ $type:ty, $location:ident, $wire:literal, $member:literal, $shape:expr) => {
        $crate::shape::Member {
            name: $member,
            wire_name: $wire,
            location: $crate::shape::Location::$location,
            shape: &$shape,
            is_required: <$type as $crate::shape::Field>::IS_REQUIRED,
        }
    };
}
pub(crate) use member;
