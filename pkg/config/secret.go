package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"unicode/utf8"

	"github.com/anyvip/anyvip/bgp"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// secrets reads the password files into c.Secrets. A relative name is relative
// to the directory of the configuration file.
func (d *decoder) secrets(c *Config, configFile string) {
	for i, peer := range c.BGP.Peers {
		d.secret(c, configFile, at("bgp.peers", i)+".password_file", peer.PasswordFile, bgp.MaxPassword)
	}
	for i, s := range c.Services {
		if v, key := s.VirtualRouters(); v != nil && v.Version == 2 {
			d.secret(c, configFile, at("services", i)+"."+key+".password_file", v.PasswordFile, policy.MaxVRRPPassword)
		}
	}
}

// secret reads one password file, of at most so many bytes.
func (d *decoder) secret(c *Config, configFile, path, file string, most int) {
	if file == "" || !d.sound(path) {
		return
	}
	name := file
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(configFile), name)
	}
	secret, mode, err := readSecret(name, most)
	if err != nil {
		d.add([]vip.Problem{{Path: path, Value: name, Message: err.Error(),
			Allowed: fmt.Sprintf("a readable file whose first line has 1 to %d bytes", most)}})
		return
	}
	c.Secrets[file] = secret
	if mode&0o004 != 0 {
		d.warn(path, name, fmt.Sprintf("is readable by everyone on this host (mode %04o); chmod 600 it", mode.Perm()))
	}
}

// readSecret returns the first line of a file without its line end. Its errors
// never carry what the file says, nor its name, which the caller adds.
func readSecret(name string, most int) (Secret, fs.FileMode, error) {
	f, err := openRegular(name)
	if err != nil {
		return "", 0, cause(err)
	}
	// A key of the greatest length, with \r\n, and one more byte to see that it is too long.
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+3))
	info, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Close()); err != nil {
		return "", 0, cause(err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	switch {
	case len(line) == 0 && len(data) == 0:
		return "", 0, errors.New("is empty")
	case len(line) == 0:
		return "", 0, errors.New("has an empty first line")
	case len(line) > most:
		return "", 0, fmt.Errorf("has a first line of more than %d bytes", most)
	case !utf8.Valid(line) || bytes.ContainsRune(line, 0):
		return "", 0, errors.New("is no text")
	}
	return Secret(line), info.Mode(), nil
}

// cause is a file error without operation and name.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("cannot be read: %w", p.Err)
	}
	return fmt.Errorf("cannot be read: %w", err)
}
