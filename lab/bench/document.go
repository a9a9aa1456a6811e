package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const documentHead = `# Benchmarks

Written by ` + "`make bench`" + `; do not edit. Every figure is of one run on one machine, all programs side by side. Sender, ToR and instruments
share its cores, so read ratios (of medians) and orders of magnitude: your machine is another, and a ToR has a processor of its own.

`

// document is a head and sections, in their order.
type document struct {
	head     string
	sections []section
}

// section begins with its title; its body ends with a newline.
type section struct{ title, body string }

const targetsTitle = "Targets"

// write writes the document, in one piece: all of it, or what was chosen into the one that is there.
func (b *bench) write(machine []string) error {
	d := b.document(machine)
	if b.Only != "" {
		switch old, err := os.ReadFile(b.Document); {
		case err == nil:
			d = parseDocument(string(old)).with(d, machine)
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("read the document: %w", err)
		}
	}
	if err := os.WriteFile(b.Document, []byte(d.String()), 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	b.say("wrote %s", b.Document)
	return nil
}

// document is what this run has measured.
func (b *bench) document(machine []string) (d document) {
	d.head = documentHead
	for _, line := range machine {
		d.head += "- " + line + "\n"
	}
	if len(b.targets) > 0 {
		d.sections = append(d.sections, section{targetsTitle, targetText(b.targets)})
	}
	for _, t := range b.tables {
		d.sections = append(d.sections, section{t.title, wrap(t.method, 150) + "\n\n" + t.markdown()})
	}
	if b.Micro != "" {
		d.sections = append(d.sections, section{microTitle, microText(b.Micro)})
	}
	return d
}

// String is the document's text.
func (d document) String() string {
	var b strings.Builder
	b.WriteString(d.head)
	for _, s := range d.sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s", s.title, s.body)
	}
	return b.String()
}

// parseDocument takes apart what String puts together.
func parseDocument(text string) (d document) {
	parts := strings.Split(text, "\n## ")
	d.head = parts[0]
	for _, part := range parts[1:] {
		title, body, _ := strings.Cut(part, "\n\n")
		d.sections = append(d.sections, section{title, body})
	}
	return d
}

// with is the document with the sections of a newer one, which say when they were measured, and with its targets.
func (d document) with(newer document, machine []string) document {
	d.sections = slices.Clone(d.sections)
	for _, s := range newer.sections {
		place := slices.IndexFunc(d.sections, func(old section) bool { return old.title == s.title })
		if s.title == targetsTitle && place >= 0 {
			d.sections[place].body = targetText(withTargets(parseTargets(d.sections[place].body), parseTargets(s.body)))
			continue
		}
		s.body = wrap("Measured anew. "+strings.Join(machine, "; ")+".", 150) + "\n\n" + s.body
		if place >= 0 {
			d.sections[place] = s
			continue
		}
		last := slices.IndexFunc(d.sections, func(old section) bool { return old.title == microTitle })
		if last < 0 {
			last = len(d.sections)
		}
		d.sections = slices.Insert(d.sections, last, s)
	}
	return d
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
