package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strconv"

	"github.com/anyvip/anyvip/pkg/vip"
)

// Load reads the file at path and the password files that it names. host is
// this server's name, for a file that gives no node. The error is *Invalid for
// a file that cannot be used. Warnings come with a usable configuration; each
// is for an operator to read, and changes nothing.
//
// It blocks on the file system: it is for start, check-config and the reload's
// own goroutine.
func Load(path, host string) (c *Config, warnings []Problem, err error) {
	data, err := read(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration: %w", err)
	}
	d := newDecoder()
	c = d.document(data, host)
	d.secrets(c, path)
	return d.result(c, path)
}

// Parse is Load for bytes: nothing is read, password files stay closed. file
// is the name to put into errors.
func Parse(file string, data []byte, host string) (c *Config, warnings []Problem, err error) {
	d := newDecoder()
	return d.result(d.document(data, host), file)
}

// read returns what the file says, but no more than one byte above the limit.
func read(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	return data, errors.Join(err, f.Close())
}

// openRegular opens a file that reading cannot block on.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return os.Open(path)
}

// document decodes data, has every part look at what is its own, and then
// looks at what no part can see.
func (d *decoder) document(data []byte, host string) *Config {
	c := &Config{Secrets: map[string]Secret{}}
	root, problems := parse(data)
	if root == nil {
		d.problems = append(d.problems, problems...)
		d.failed[""] = true
		return c
	}
	d.value(root, reflect.ValueOf(c).Elem(), "", field{})
	if c.Node == "" && d.sound("node") {
		c.Node = host
	}
	d.parts(c)
	d.across(c)
	return c
}

// parts asks each part about its own. A file without a bgp section has no
// speaker that could be wrong.
func (d *decoder) parts(c *Config) {
	if d.given("bgp") {
		d.add(vip.Under("bgp", c.BGP.Validate()))
	}
	for i, check := range c.Checks {
		d.add(vip.Under(at("checks", i), check.Validate()))
	}
	for i, service := range c.Services {
		d.add(vip.Under(at("services", i), service.Validate()))
	}
	d.add(vip.Under("api", c.API.Validate()))
	d.add(vip.Under("http", c.HTTP.Validate()))
}

// result is what the caller gets.
func (d *decoder) result(c *Config, file string) (*Config, []Problem, error) {
	if len(d.problems) > 0 {
		return nil, nil, &Invalid{File: file, Problems: byPosition(d.problems)}
	}
	return c, byPosition(d.warnings), nil
}

// at is the path of an item of a list.
func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
