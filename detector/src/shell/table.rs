//! `detector status` for people: the document as it came, one value a line.

use std::fmt::Write;

use anyhow::Context;
use serde_json::Value;

/// Lays the JSON document of a status out: scalars first, then lists of records as tables.
pub(crate) fn render(json: &str) -> anyhow::Result<String> {
    let document: Value = serde_json::from_str(json).context("the answer is no JSON")?;
    let mut text = String::new();
    let fields = document.as_object().context("the answer is no status")?;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_array()) {
        writeln!(text, "{name:<14} {}", cell(value))?;
    }
    for (name, value) in fields {
        if let Value::Array(rows) = value {
            writeln!(text, "\n{name} ({})", rows.len())?;
            table(&mut text, rows)?;
        }
    }
    Ok(text)
}

fn table(text: &mut String, rows: &[Value]) -> std::fmt::Result {
    let columns: Vec<&String> = rows
        .first()
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|row| row.keys())
        .collect();
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|name| row.get(*name).map(cell).unwrap_or_default())
                .collect()
        })
        .collect();
    let width = |index: usize| {
        let longest = cells
            .iter()
            .filter_map(|row| row.get(index))
            .map(|cell| cell.chars().count())
            .max();
        longest
            .unwrap_or(0)
            .max(columns.get(index).map_or(0, |name| name.len()))
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut line = |cells: &[String]| -> std::fmt::Result {
        for (cell, width) in cells.iter().zip(&widths) {
            write!(text, "  {cell:<width$}")?;
        }
        writeln!(text)
    };
    line(&columns.iter().map(|name| (*name).clone()).collect::<Vec<_>>())?;
    cells.iter().try_for_each(|row| line(row))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_f64()
            .filter(|_| number.is_f64())
            .map_or_else(|| number.to_string(), |float| format!("{float:.1}")),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join("/"),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Bool(flag) => flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::render;

    #[test]
    fn scalars_then_tables() {
        let json = r#"{"id":"ab","members":3,"packets":{"echoed":[5,0]},"subjects":[{"id":"cd","rtt_ms":0.25,"zone":null}]}"#;
        let text = render(json).unwrap();
        assert_eq!(
            text,
            "id             ab\nmembers        3\npackets        echoed=5/0\n\nsubjects (1)\n  id  rtt_ms  zone\n  cd  0.2     -   \n"
        );
        assert!(render("[1]").is_err());
    }
}
