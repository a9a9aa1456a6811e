package bench

import (
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

const documentHead = `# Benchmarks

Written by ` + "`make bench`" + `; do not edit. Every figure is of one run on one machine, all programs side by side. Sender, ToR and instruments
share its cores, so read ratios (of medians) and orders of magnitude: your machine is another, and a ToR has a processor of its own.

`

// write writes the document, in one piece.
func (b *bench) write(machine []string) error {
	var d strings.Builder
	d.WriteString(documentHead)
	for _, line := range machine {
		d.WriteString("- " + line + "\n")
	}
	if len(b.targets) > 0 {
		fmt.Fprintf(&d, "\n## Targets\n\n%s", targetText(b.targets))
	}
	for _, t := range b.tables {
		fmt.Fprintf(&d, "\n## %s\n\n%s\n\n%s", t.title, wrap(t.method, 150), t.markdown())
	}
	if b.Micro != "" {
		d.WriteString("\n" + microText(b.Micro))
	}
	if err := os.WriteFile(b.Document, []byte(d.String()), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	b.say("wrote %s", b.Document)
	return nil
}

// wrap breaks a text into lines of at most so many characters.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
