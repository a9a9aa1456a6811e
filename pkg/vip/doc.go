// Package vip holds the nouns that every other package shares: the result of a
// probe, an announcement and its BGP attributes, and facts about sessions,
// addresses and links as plain values.
//
// It owns no behaviour beyond comparing and printing these values, and what the
// text in them may be. It imports the standard library alone, and must not know who
// makes a value or who uses it. Everything here is safe to copy; slices and maps
// inside a value are never changed after it was handed over.
package vip
