//! Service instances as a querier meets them: any label, text or not.
//!
//! Spec: RFC 6763 §4.1.

use crate::mdns::service::{ServiceName, service_type};
use crate::wire::Error;
use crate::wire::dns::Name;

/// `{label}._phase-image._tcp.local`
///
/// # Errors
/// [`Error::Malformed`] unless the label has 1 to 63 octets.
pub(crate) fn instance(label: &[u8]) -> Result<ServiceName, Error> {
    let mut name = ServiceName::from_labels([label])?;
    name.append(&service_type().as_name())?;
    Ok(name)
}

/// The label of `name` when it is a service instance.
pub(crate) fn instance_label<'a>(name: &Name<'a>) -> Option<&'a [u8]> {
    let (label, parent) = name.split_first()?;
    (service_type() == parent).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mdns::service::subtype;

    #[test]
    fn only_one_label_below_the_service_type_is_an_instance() {
        let label = b"Bob's v1.2 (\xFFstable)";
        let name = instance(label).unwrap();
        assert_eq!(instance_label(&name.as_name()), Some(&label[..]));
        assert_eq!(instance_label(&subtype("arm64", "stable").as_name()), None);
        assert_eq!(instance_label(&service_type().as_name()), None);
        assert!(instance(&[b'x'; 64]).is_err());
    }
}
