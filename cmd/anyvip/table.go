package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tint is what a cell says by its colour.
type tint uint8

const (
	plain tint = iota
	good
	warn
	bad
	faint
)

var tintCodes = [...]string{"", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m"}

const tintEnd = "\x1b[0m"

// cell is one field of a table.
type cell struct {
	text string
	tint tint
}

// table is rows of equal length; the first is the head. Columns are aligned
// and two spaces apart. The last column is cut to the width of the screen.
type table struct{ rows [][]cell }

// newTable starts a table with its head.
func newTable(heads ...string) *table {
	t := &table{}
	row := make([]cell, len(heads))
	for i, h := range heads {
		row[i] = cell{h, faint}
	}
	t.rows = append(t.rows, row)
	return t
}

// add appends a row. What is empty becomes a dash, except at the row's end;
// what cannot be printed becomes a question mark, since part of it was read
// from the network.
func (t *table) add(cells ...cell) {
	for i := range cells {
		cells[i].text = printable(cells[i].text)
		if cells[i].text == "" && i < len(cells)-1 {
			cells[i] = cell{"-", faint}
		}
	}
	t.rows = append(t.rows, cells)
}

// String is the table for a screen.
func (t *table) render(s screen) string {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		column := 0
		for i, c := range row {
			last := i == len(row)-1
			text := c.text
			if last && s.width > 0 {
				text = cut(text, s.width-column)
			}
			b.WriteString(tinted(text, c.tint, s.colour))
			if !last && !allEmpty(row[i+1:]) {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+2))
			}
			column += widths[i] + 2
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func allEmpty(cells []cell) bool {
	for _, c := range cells {
		if c.text != "" {
			return false
		}
	}
	return true
}

func tinted(text string, t tint, colour bool) string {
	if !colour || t == plain || text == "" {
		return text
	}
	return tintCodes[t] + text + tintEnd
}

// cut shortens text to width, but not to nothing: a screen too narrow for a
// table has to wrap it.
func cut(text string, width int) string {
	const least = 20
	r := []rune(text)
	if width < least || len(r) <= width {
		return text
	}
	return string(r[:width-1]) + "…"
}

// printable takes the sting out of control sequences.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
