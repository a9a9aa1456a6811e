package config

import "strings"

//go:generate go test . -run TestReference -update

const referenceHead = `# Every key of anyvip's configuration with its default and its meaning. A key
# that is commented out (#key:) has no value where it is left out.
# Written by ` + "`anyvip config reference`" + ` from the program itself; do not edit.
# Durations have a unit: 500ms, 2s, 1m30s. Names are 1 to 63 of a-z, 0-9, - _ .
`

// Reference returns a complete valid document with every key, its default and
// its meaning.
func Reference() string {
	text := referenceHead
	for _, k := range keys() {
		text += "\n" + strings.Join(mappingLines([]key{k}, true), "\n") + "\n"
	}
	return text
}

// mappingLines writes the keys of one mapping. live is false inside what is
// commented out, where every key is written.
func mappingLines(ks []key, live bool) []string {
	var lines []string
	for _, k := range ks {
		written := keyLines(k, live)
		if live && !k.active() {
			written = prefixed("#", keyLines(k, false))
		}
		lines = append(append(lines, prefixed("# ", wrapped(k.doc))...), written...)
	}
	return lines
}

// active reports whether the key stands in the reference as a value.
func (k key) active() bool {
	if k.absent {
		return false
	}
	for _, inner := range k.inner {
		if k.list && inner.sample != "" || !k.list && inner.active() {
			return true
		}
	}
	return k.preset != "" || k.sample != ""
}

func keyLines(k key, live bool) []string {
	head := k.name + ":"
	switch {
	case k.list:
		return append([]string{head}, prefixed("  ", itemLines(k, live))...)
	case k.inner != nil:
		return append([]string{head}, prefixed("  ", mappingLines(k.inner, live))...)
	case k.sample != "":
		return []string{head + " " + k.sample}
	case k.preset != "":
		return []string{head + " " + k.preset}
	}
	return []string{head + " <" + k.of + ">"}
}

// itemLines writes one item, or one of each kind: the first has all the other
// keys, the rest only what must be given.
func itemLines(k key, live bool) []string {
	var common, kinds []key
	for _, inner := range k.inner {
		if inner.kind {
			kinds = append(kinds, inner)
		} else {
			common = append(common, inner)
		}
	}
	if kinds == nil {
		return itemOf(mappingLines(common, live))
	}
	var lines []string
	for i, kind := range kinds {
		common[0].sample = kind.name
		lines = append(lines, itemOf(mappingLines(append([]key{common[0], kind}, common[1:]...), live))...)
		if i == 0 {
			common = []key{{name: common[0].name, doc: "another kind of check; its other keys are those above"}}
		}
	}
	return lines
}

// itemOf makes the lines of a mapping an item of a list: the dash stands at the
// first key, the comment before it moves out.
func itemOf(lines []string) []string {
	out := make([]string, len(lines))
	dashed := false
	for i, line := range lines {
		switch {
		case dashed:
			out[i] = "  " + line
		case strings.HasPrefix(line, "#"):
			out[i] = line
		default:
			out[i] = "- " + line
			dashed = true
		}
	}
	return out
}

func prefixed(prefix string, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = prefix + line
	}
	return out
}

// wrapped breaks text into lines of readable length.
func wrapped(text string) []string {
	const width = 96
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines) - 1; n >= 0 && len(lines[n])+1+len(word) <= width {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

const tableHead = `# Configuration: every key

Written from the program itself (` + "`go test ./pkg/config -update`" + `); do not edit. The same as a file to start from:
` + "`anyvip config reference`" + `, or [reference.yaml](../../pkg/config/reference.yaml).

The file is YAML, read strictly: an unknown key, a wrong type or a value out of range is an error, and all errors are
reported at once with line and column. Durations have a unit (` + "`500ms`, `2s`, `1m30s`" + `). Names are 1 to 63 of a-z, 0-9,
` + "`-` `_` `.`" + ` with a letter or digit first. Lists of named things, never mappings keyed by a name. Anchors, aliases,
merge keys and tags of YAML are not used. A file has at most 1 MiB. A relative ` + "`password_file`" + ` of a peer is relative to
the directory of the configuration file. What each kind of check makes of an answer: [checks.md](checks.md).

| Key | Holds | Default | Meaning |
|---|---|---|---|
`

// Table returns the table of all keys with their defaults, in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString(tableHead)
	writeRows(&b, keys())
	return b.String()
}

func writeRows(b *strings.Builder, ks []key) {
	for _, k := range ks {
		preset := ""
		switch {
		case k.preset != "":
			preset = "`" + k.preset + "`"
		case k.sample != "" && k.path != "node":
			preset = "must be given"
		}
		doc := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(k.doc)
		b.WriteString("| `" + k.path + "` | " + k.of + " | " + preset + " | " + doc + " |\n")
		writeRows(b, k.inner)
	}
}
