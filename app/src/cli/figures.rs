//! The figures of a mix (`mix` of `admix inspect --against`) as lines.

use serde_json::Value;

/// Columns of numbers, block by block, then spectra and warnings.
pub fn text(mix: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let ingredients = list(&mix["ingredients"]);
    let name = |i: usize| ingredients[i]["name"].as_str().unwrap_or_default().to_string();
    let mut out = format!("changes of {}, by block:\n", mix["against"].as_str().unwrap_or_default());
    for (i, one) in ingredients.iter().enumerate() {
        out.push_str(&format!("  {} {} at {}\n", letter(i), name(i), number(&one["weight"])));
    }
    let count = ingredients.len();
    let pairs = list(&mix["whole"]["pairs"]);
    let mut head: Vec<String> = vec!["block".into()];
    head.extend((0..count).map(|i| format!("{} % of base", letter(i))));
    for pair in &pairs {
        let both = format!("{}{}", letter(at(&pair["a"])), letter(at(&pair["b"])));
        head.extend([format!("cos {both}"), format!("same sign {both}")]);
    }
    head.extend((0..count).map(|i| format!("{} in top 20 %", letter(i))));
    if count > 1 {
        head.extend(["range".into(), "cancels".into(), "by chance".into()]);
    }
    let mut rows = vec![head];
    for block in list(&mix["blocks"]).iter().chain([&mix["whole"]]) {
        let base = number(&block["base"]);
        let share = |norm: &Value| if base > 0.0 { 100.0 * number(norm) / base } else { 0.0 };
        let mut row = vec![block["block"].as_str().unwrap_or_default().to_string()];
        row.extend(list(&block["norms"]).iter().map(|n| format!("{:.3}", share(n))));
        for pair in list(&block["pairs"]) {
            row.push(format!("{:.3}", number(&pair["cosine"])));
            row.push(format!("{:.1} %", 100.0 * number(&pair["agreement"])));
        }
        row.extend(list(&block["kept"]).iter().map(|k| format!("{:.1} %", 100.0 * number(&k[1]))));
        if count > 1 {
            row.push(format!("{:.2}", number(&block["range"])));
            row.push(format!("{:.1} %", 100.0 * number(&block["interference"])));
            row.push(format!("{:.1} %", 100.0 * number(&block["chance"])));
        }
        rows.push(row);
    }
    out.push_str(&columns(&rows));
    for (i, one) in ingredients.iter().enumerate() {
        let spectrum = &one["spectrum"];
        if spectrum.is_null() {
            continue;
        }
        let energies: Vec<String> =
            list(&spectrum["energies"]).iter().take(8).map(|e| format!("{:.1}", 100.0 * number(e))).collect();
        out.push_str(&format!(
            "  {}: rank {}, effective {:.1}; {} directions hold 90 %, {} hold 99 %; energies {} %{}\n",
            letter(i),
            number(&spectrum["rank"]),
            number(&spectrum["effective"]),
            number(&spectrum["rank90"]),
            number(&spectrum["rank99"]),
            energies.join(", "),
            if list(&spectrum["energies"]).len() > 8 { ", .." } else { "" }
        ));
    }
    for warning in list(&mix["warnings"]) {
        out.push_str(&format!("  note: {}\n", warning.as_str().unwrap_or_default()));
    }
    out
}

fn at(value: &Value) -> usize {
    value.as_u64().unwrap_or(0) as usize
}

/// A for the first ingredient, and so on.
fn letter(i: usize) -> String {
    match u8::try_from(i) {
        Ok(i) if i < 26 => char::from(b'A' + i).to_string(),
        _ => format!("#{}", i + 1),
    }
}

/// Rows of cells, aligned.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|t| t.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (c, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            line.push_str(&if c == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
