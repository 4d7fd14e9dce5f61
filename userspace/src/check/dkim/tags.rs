//! Tag lists (RFC 6376 3.2), of signatures and of key records alike: syntax only, no meaning.

/// More tags than that make no list. Real ones have a dozen.
const MAX_TAGS: usize = 64;

/// The tags of one list, each name once.
#[derive(Debug)]
pub(super) struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// Reads `text`; none if it breaks the syntax or holds a name twice. Empty elements are passed over.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for element in text.split(';').map(trim).filter(|element| !element.is_empty()) {
            let (name, value) = element.split_once('=')?;
            let (name, value) = (trim(name), trim(value));
            // In another case it is another tag, but not to every reader.
            let twice = tags.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
            if twice || tags.len() == MAX_TAGS || !is_name(name) || !value.chars().all(is_valid) {
                return None;
            }
            tags.push((name, value));
        }
        Some(Self(tags))
    }

    /// The value of `name`, without the blanks around it.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The value of `name` without any blanks, and empty if there is no such tag.
    pub(super) fn compact(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().chars().filter(|character| !is_blank(*character)).collect()
    }

    /// The elements of a value with colons between them, without blanks.
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.get(name).unwrap_or_default().split(':').map(trim)
    }

    /// The name of the first tag.
    pub(super) fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_blank)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
}

fn is_valid(character: char) -> bool {
    !character.is_control() || is_blank(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_name_once_and_nothing_but_tags() {
        let good: [&[u8]; 5] = [b"v=1", b" v = 1 ; a=rsa;\r\n\tb=", b"v=1;;a=2;", b"x_1=a=b", b""];
        let bad: [&[u8]; 7] = [b"v", b"v=1;v=2", b"v=1;V=2", b"=1", b"1a=1", b"a b=1", b"a=\0"];
        assert!(good.iter().all(|text| Tags::parse(text).is_some()));
        for text in bad {
            assert!(Tags::parse(text).is_none(), "{:?}", text.escape_ascii().to_string());
        }
        let many = (0..=MAX_TAGS).map(|n| format!("t{n}=;")).collect::<String>();
        assert!(Tags::parse(many.as_bytes()).is_none());
    }

    #[test]
    fn blanks_inside_a_value_are_left_out_where_they_mean_nothing() {
        let tags = Tags::parse(b"b=ab\r\n\tcd; h = From :\r\n To").expect("a list");
        assert_eq!(tags.compact("b"), "abcd");
        assert_eq!(tags.compact("d"), "");
        assert_eq!(tags.list("h").collect::<Vec<_>>(), ["From", "To"]);
        assert_eq!(tags.first(), Some("b"));
    }
}
