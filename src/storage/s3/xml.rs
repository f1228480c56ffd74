//! The few XML documents of S3 that matter: listings, errors, upload ids. Pure; whoever reads them bounds their size.

use std::time::SystemTime;

use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Elements within each other; deeper documents are none of S3's.
const DEPTH: usize = 16;

/// An answer that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0} in the answer of the server")]
pub struct Malformed(&'static str);

impl Malformed {
    pub(super) const SIZE: Self = Self("size");
    pub(super) const RANGE: Self = Self("such range");
    pub(super) const TAG: Self = Self("tag of a part");
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    /// Asks for the next page, if there is one.
    pub(super) next: Option<String>,
}

/// A listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) key: String,
    /// Bytes.
    pub(super) size: u64,
    pub(super) modified: SystemTime,
}

/// What a refusal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For example `NoSuchKey`.
    pub(super) code: String,
    pub(super) message: String,
}

/// Reads `ListBucketResult` of version 2. Folder markers are left out.
pub(super) fn page(xml: &[u8]) -> Result<Page, Malformed> {
    let (mut page, mut object, mut is_list, mut is_encoded, mut is_cut) = (Page::default(), None, false, false, false);
    leaves(xml, |parent, name, text| match (parent, name) {
        ("", "ListBucketResult") => is_list = true,
        ("ListBucketResult", "EncodingType") => is_encoded = text == "url",
        ("ListBucketResult", "IsTruncated") => is_cut = text == "true",
        ("ListBucketResult", "NextContinuationToken") => page.next = Some(text),
        ("ListBucketResult", "Contents") => page.objects.extend(object.take()),
        ("Contents", name) => {
            let object = object.get_or_insert(Object { key: String::new(), size: 0, modified: SystemTime::UNIX_EPOCH });
            match name {
                "Key" => object.key = text,
                "Size" => object.size = text.parse().unwrap_or(0),
                "LastModified" => object.modified = date(&text).unwrap_or(SystemTime::UNIX_EPOCH),
                _ => {}
            }
        }
        _ => {}
    })?;
    if !is_list || (is_cut && page.next.is_none()) {
        return Err(Malformed("listing"));
    }
    if !is_cut {
        page.next = None;
    }
    if is_encoded {
        for object in &mut page.objects {
            let decoded = percent_decode_str(&object.key.replace('+', " ")).decode_utf8().map(String::from);
            object.key = decoded.map_err(|_| Malformed("listing"))?;
        }
    }
    page.objects.retain(|object| !object.key.is_empty() && !object.key.ends_with('/'));
    Ok(page)
}

/// Reads the id of an upload that was begun.
pub(super) fn upload_id(xml: &[u8]) -> Result<String, Malformed> {
    let mut id = String::new();
    // Not every server calls the document `InitiateMultipartUploadResult`.
    leaves(xml, |_, name, text| {
        if name == "UploadId" {
            id = text;
        }
    })?;
    if id.is_empty() { Err(Malformed("upload id")) } else { Ok(id) }
}

/// Reads an error, if the document is one; it may come with status 200.
pub(super) fn refusal(xml: &[u8]) -> Option<Refusal> {
    let mut refusal = Refusal::default();
    let read = leaves(xml, |parent, name, text| match (parent, name) {
        ("Error", "Code") => refusal.code = text,
        ("Error", "Message") => refusal.message = text,
        _ => {}
    });
    (read.is_ok() && !refusal.code.is_empty()).then_some(refusal)
}

/// What ends an upload: its parts in order.
pub(super) fn complete(tags: &[String]) -> String {
    let mut xml = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (index, tag) in tags.iter().enumerate() {
        let tag = quick_xml::escape::escape(tag.as_str());
        xml.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>{tag}</ETag></Part>", index + 1));
    }
    xml.push_str("</CompleteMultipartUpload>");
    xml
}

/// What a new bucket needs outside the default region.
pub(super) fn create_bucket(region: &str) -> String {
    if region == "us-east-1" {
        return String::new();
    }
    let region = quick_xml::escape::escape(region);
    format!(
        "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
         </LocationConstraint></CreateBucketConfiguration>"
    )
}

/// Calls `leaf` with parent, name and text of each element as it ends.
fn leaves(xml: &[u8], mut leaf: impl FnMut(&str, &str, String)) -> Result<(), Malformed> {
    let broken = Malformed("well-formed XML");
    let mut reader = Reader::from_str(std::str::from_utf8(xml).map_err(|_| broken)?);
    let (mut open, mut text): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(|_| broken)? {
            Event::Start(start) => {
                if open.len() == DEPTH {
                    return Err(broken);
                }
                open.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::End(_) => {
                let name = open.pop().ok_or(broken)?;
                leaf(open.last().map_or("", String::as_str), &name, std::mem::take(&mut text));
            }
            Event::Empty(start) => {
                leaf(open.last().map_or("", String::as_str), start.local_name().as_ref(), String::new());
            }
            Event::Text(piece) => text.push_str(&piece.xml10_content()),
            Event::CData(piece) => text.push_str(&piece.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|_| broken)? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&reference).ok_or(broken)?),
            },
            Event::Eof => return if open.is_empty() { Ok(()) } else { Err(broken) },
            _ => {}
        }
    }
}

fn date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_of_a_listing() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix>
            <KeyCount>3</KeyCount><MaxKeys>3</MaxKeys><IsTruncated>true</IsTruncated>
            <NextContinuationToken>1ueG=&amp;x</NextContinuationToken>
            <Contents><Key>a/b &amp; c&#x2F;d.ts</Key><LastModified>2013-05-24T00:00:01.500Z</LastModified>
              <ETag>&quot;fba9&quot;</ETag><Size>434234</Size><StorageClass>STANDARD</StorageClass>
              <Owner><ID>7</ID><Key>no</Key></Owner></Contents>
            <Contents><Key>folder/</Key><Size>0</Size></Contents>
            <Contents><Key>e</Key><LastModified>never</LastModified><Size>many</Size><Owner/></Contents>
            <CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes></ListBucketResult>"#;
        let page = page(xml.as_bytes()).expect("a listing");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_369_353_601_500);
        let object = |key: &str, size, modified| Object { key: key.to_owned(), size, modified };
        let expected = [object("a/b & c/d.ts", 434_234, at), object("e", 0, SystemTime::UNIX_EPOCH)];
        assert_eq!(page.objects, expected);
        assert_eq!(page.next.as_deref(), Some("1ueG=&x"));
    }

    #[test]
    fn names_are_decoded_only_where_the_server_says_so() {
        let list = |kind: &str| {
            let xml = format!("<ListBucketResult>{kind}<Contents><Key>a%20+b</Key></Contents></ListBucketResult>");
            page(xml.as_bytes()).expect("a listing").objects[0].key.clone()
        };
        assert_eq!(list(""), "a%20+b");
        assert_eq!(list("<EncodingType>url</EncodingType>"), "a  b");
    }

    #[test]
    fn the_last_page_has_no_successor() {
        let xml = "<ListBucketResult><IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>\
            </ListBucketResult>";
        assert_eq!(page(xml.as_bytes()), Ok(Page::default()));
    }

    #[test]
    fn what_is_no_listing() {
        let endless = "<a>".repeat(1000);
        let cut = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        for xml in
            ["", "{}", "<html><body>hi</body></html>", "<ListBucketResult>", cut, &endless, "<a>&bomb;</a>", "\u{0}"]
        {
            assert!(page(xml.as_bytes()).is_err(), "{xml}");
        }
    }

    #[test]
    fn refusals_and_ids() {
        let xml = "<Error><Code>NoSuchKey</Code><Message>It&apos;s not there</Message></Error>";
        let refusal = refusal(xml.as_bytes()).expect("one");
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("NoSuchKey", "It's not there"));
        assert_eq!(super::refusal(b"<html/>"), None);
        let xml =
            b"<InitiateMultipartUploadResult><Key>k</Key><UploadId>u&lt;1</UploadId></InitiateMultipartUploadResult>";
        assert_eq!(upload_id(xml).as_deref(), Ok("u<1"));
        assert!(upload_id(b"<Other/>").is_err());
    }

    #[test]
    fn what_is_sent() {
        let xml = complete(&["\"a\"".to_owned(), "<b>".to_owned()]);
        assert!(xml.contains("<Part><PartNumber>2</PartNumber><ETag>&lt;b&gt;</ETag></Part></Complete"), "{xml}");
        assert_eq!(create_bucket("us-east-1"), "");
        assert!(create_bucket("eu-west-1").contains("<LocationConstraint>eu-west-1<"));
    }
}
