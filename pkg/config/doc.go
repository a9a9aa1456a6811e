// Package config turns the configuration file into one Config, and says
// everything that is wrong with it at once, each with line and column.
//
// It owns the decoder, the checks across parts and the generated reference. The
// parts' own Config structs, with their tags and their Validate, are the only
// definition of what a file may say. It is the only importer of YAML and of
// viper; viper carries the process's own Settings and never the document.
//
// The decoder is pure: Parse takes bytes and returns a value. Load adds the
// file, the password files and nothing else. No goroutine starts here, and
// nothing here may be called by the agent loop, since Load reads files.
package config
