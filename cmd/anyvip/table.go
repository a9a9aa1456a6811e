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

// table is rows of equal length; the first is the head. Columns are aligned.
// On a screen with a width the last column continues on further lines.
type table struct{ rows [][]cell }

// gap is how many spaces columns are apart.
const gap = 2

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

// render is the table for a screen.
func (t *table) render(s screen) string {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		last := len(row) - 1
		column := 0
		for i, c := range row[:last] {
			b.WriteString(tinted(c.text, c.tint, s.colour))
			if !allEmpty(row[i+1:]) {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+gap))
			}
			column += widths[i] + gap
		}
		b.WriteString(tinted(hang(row[last].text, column, s.width), row[last].tint, s.colour))
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

// hang breaks text between words, so that it fits between column and width.
// Without a width, or with one that leaves no room, it stays one line.
func hang(text string, column, width int) string {
	const least = 20
	room := width - column
	if room < least {
		return text
	}
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > room:
			b.WriteString("\n" + strings.Repeat(" ", column))
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
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
