//! A document for word processors (Office Open XML, ECMA-376).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Cursor, Write};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::dialogue::{clock, paragraphs};
use crate::{Document, TimelineError};

/// Colours of speakers in the order they first talk: dark enough for print on white (contrast of at least 4.5), and
/// different for the colour-blind in their lightness.
const COLOURS: [&str; 8] = [
    "1F4E9E", "A8321E", "1B6E3C", "6B3FA0", "8A5A00", "00687A", "A0286E", "4A4A4A",
];

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n";

const CONTENT_TYPES: &str = r#"<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/><Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>"#;

const PACKAGE_RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>"#;

const DOCUMENT_RELATIONS: &str = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#;

const STYLES: &str = r#"<w:styles xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:docDefaults><w:rPrDefault><w:rPr><w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:eastAsia="Malgun Gothic" w:cs="Calibri"/><w:sz w:val="22"/></w:rPr></w:rPrDefault><w:pPrDefault><w:pPr><w:spacing w:after="120" w:line="276" w:lineRule="auto"/></w:pPr></w:pPrDefault></w:docDefaults><w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style><w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/><w:next w:val="Normal"/><w:pPr><w:spacing w:after="240"/></w:pPr><w:rPr><w:b/><w:sz w:val="40"/></w:rPr></w:style><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/><w:basedOn w:val="Normal"/><w:next w:val="Normal"/><w:pPr><w:keepNext/><w:spacing w:before="360" w:after="120"/><w:outlineLvl w:val="0"/></w:pPr><w:rPr><w:b/><w:sz w:val="28"/></w:rPr></w:style></w:styles>"#;

/// Writes a word processor document: the title, a table of what is known of the recording, and the text as a dialogue
/// with coloured speakers and times. It holds no date, so that the same document gives the same bytes.
///
/// # Errors
/// When the output fails.
pub fn docx(document: &Document, title: &str, out: &mut dyn Write) -> Result<(), TimelineError> {
    let parts = [
        ("[Content_Types].xml", CONTENT_TYPES),
        ("_rels/.rels", PACKAGE_RELATIONS),
        ("word/_rels/document.xml.rels", DOCUMENT_RELATIONS),
        ("word/styles.xml", STYLES),
        ("word/document.xml", &body(document, title)),
    ];
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    for (name, text) in parts {
        package.start_file(name, options).map_err(io::Error::from)?;
        package.write_all(HEAD.as_bytes())?;
        package.write_all(text.as_bytes())?;
    }
    let bytes = package.finish().map_err(io::Error::from)?.into_inner();
    Ok(out.write_all(&bytes)?)
}

fn body(document: &Document, title: &str) -> String {
    let mut xml = String::from(
        r#"<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>"#,
    );
    let _ = write!(
        xml,
        r#"<w:p><w:pPr><w:pStyle w:val="Title"/></w:pPr><w:r><w:t xml:space="preserve">{}</w:t></w:r></w:p>"#,
        escaped(title)
    );
    table(&mut xml, &facts(document));
    xml.push_str(
        r#"<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Transcript</w:t></w:r></w:p>"#,
    );
    let mut colours: BTreeMap<&str, &str> = BTreeMap::new();
    for said in paragraphs(document) {
        xml.push_str("<w:p>");
        if let Some(speaker) = said.speaker {
            let next = COLOURS[colours.len() % COLOURS.len()];
            let colour = colours.entry(speaker).or_insert(next);
            let _ = write!(
                xml,
                r#"<w:r><w:rPr><w:b/><w:color w:val="{colour}"/></w:rPr><w:t xml:space="preserve">{} </w:t></w:r>"#,
                escaped(speaker)
            );
        }
        let _ = write!(
            xml,
            r#"<w:r><w:rPr><w:color w:val="595959"/><w:sz w:val="18"/></w:rPr><w:t xml:space="preserve">[{}] </w:t></w:r><w:r><w:t xml:space="preserve">{}</w:t></w:r></w:p>"#,
            clock(said.start),
            escaped(&said.text)
        );
    }
    xml.push_str(
        r#"<w:sectPr><w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="709" w:footer="709" w:gutter="0"/></w:sectPr></w:body></w:document>"#,
    );
    xml
}

/// Name and value of each row of the table.
fn facts(document: &Document) -> Vec<(&'static str, String)> {
    let names = |names: Vec<&str>| names.join(", ");
    let mut facts = vec![("Duration", clock(document.duration.round()))];
    if !document.language.is_empty() {
        facts.push(("Language", document.language.clone()));
    }
    if !document.speakers.is_empty() {
        let speakers = document.speakers.keys().map(String::as_str).collect();
        facts.push(("Speakers", names(speakers)));
    }
    if !document.metadata.model_versions.is_empty() {
        let models = document.metadata.model_versions.values();
        facts.push((
            "Models",
            names(models.map(|model| model.name.as_str()).collect()),
        ));
    }
    if !document.metadata.generator.is_empty() {
        facts.push(("Made by", document.metadata.generator.clone()));
    }
    if document.partial {
        facts.push(("Note", "A stage failed; something is missing.".into()));
    }
    facts
}

fn table(xml: &mut String, rows: &[(&str, String)]) {
    xml.push_str(r#"<w:tbl><w:tblPr><w:tblW w:w="0" w:type="auto"/><w:tblBorders>"#);
    for side in ["top", "bottom", "insideH"] {
        let _ = write!(
            xml,
            r#"<w:{side} w:val="single" w:sz="4" w:space="0" w:color="BFBFBF"/>"#
        );
    }
    xml.push_str(
        r#"</w:tblBorders></w:tblPr><w:tblGrid><w:gridCol w:w="2268"/><w:gridCol w:w="7370"/></w:tblGrid>"#,
    );
    for (name, value) in rows {
        xml.push_str("<w:tr>");
        for (width, bold, text) in [(2268, "<w:rPr><w:b/></w:rPr>", *name), (7370, "", value)] {
            let text = escaped(text);
            let _ = write!(
                xml,
                r#"<w:tc><w:tcPr><w:tcW w:w="{width}" w:type="dxa"/></w:tcPr><w:p><w:r>{bold}<w:t xml:space="preserve">{text}</w:t></w:r></w:p></w:tc>"#
            );
        }
        xml.push_str("</w:tr>");
    }
    xml.push_str("</w:tbl>");
}

/// The text as XML 1.0 may hold it: control characters, which it cannot, are spaces.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => xml.push(' '),
            character if character.is_control() => xml.push(' '),
            character => xml.push(character),
        }
    }
    xml
}
