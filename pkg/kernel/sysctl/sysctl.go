// Package sysctl reads and writes the settings that the kernel has for each link, and
// knows what those about ARP mean.
//
// It must not know what an address is for.
package sysctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The families of settings.
const (
	IPv4 = "ipv4"
	IPv6 = "ipv6"
)

// All is in place of a link what counts for every one.
const All = "all"

func path(family, link, name string) string {
	return filepath.Join("/proc/sys/net", family, "conf", link, name)
}

// Read reads a setting of a link.
func Read(family, link, name string) (int, error) {
	raw, err := os.ReadFile(path(family, link, name))
	v := 0
	if err == nil {
		v, err = strconv.Atoi(strings.TrimSpace(string(raw)))
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", path(family, link, name), bare(err))
	}
	return v, nil
}

// Write changes a setting of a link.
func Write(family, link, name string, value int) error {
	f, err := os.OpenFile(path(family, link, name), os.O_WRONLY, 0) // never made: what is missing is an error
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(value))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot write %d to %s: %w", value, path(family, link, name), bare(err))
	}
	return nil
}

// bare takes the path from an error: it is said already.
func bare(err error) error {
	if failed := (*os.PathError)(nil); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// ARP are the two settings that decide whether a link speaks ARP for an address that is
// on another link. The kernel takes the larger of "all" and the link's own.
type ARP struct {
	IgnoreAll, Ignore     int // arp_ignore; from 1 on, a link answers for its own addresses alone
	AnnounceAll, Announce int // arp_announce; at 2, a link asks with its own addresses alone
}

// ReadARP reads the settings of a link, all of them or none.
func ReadARP(link string) (s ARP, err error) {
	for _, v := range []struct {
		to         *int
		link, name string
	}{
		{&s.IgnoreAll, All, "arp_ignore"}, {&s.Ignore, link, "arp_ignore"},
		{&s.AnnounceAll, All, "arp_announce"}, {&s.Announce, link, "arp_announce"},
	} {
		if *v.to, err = Read(IPv4, v.link, v.name); err != nil {
			return ARP{}, err
		}
	}
	return s, nil
}

// Fault says what is wrong with the settings of a link that is to speak ARP for its own
// addresses alone, and what to run; empty if nothing is.
func (s ARP) Fault(link string) string {
	var settings []string
	if s.ignore() < 1 {
		settings = append(settings, "arp_ignore=1")
	}
	if s.announce() < 2 {
		settings = append(settings, "arp_announce=2")
	}
	if len(settings) == 0 {
		return ""
	}
	return fmt.Sprintf("arp_ignore is %d (all %d, %s %d; must be 1 or more), arp_announce is %d (all %d, %s %d; must be 2); %s",
		s.ignore(), s.IgnoreAll, link, s.Ignore, s.announce(), s.AnnounceAll, link, s.Announce, Run(link, settings...))
}

func (s ARP) ignore() int   { return max(s.IgnoreAll, s.Ignore) }
func (s ARP) announce() int { return max(s.AnnounceAll, s.Announce) }

// Run says which command makes IPv4 settings of a link, each name=value.
func Run(link string, settings ...string) string {
	words := make([]string, len(settings))
	for i, s := range settings {
		// In sysctl's dotted names a dot of the link's name is written as a slash.
		words[i] = "net.ipv4.conf." + strings.ReplaceAll(link, ".", "/") + "." + s
	}
	return "run: sysctl -w " + strings.Join(words, " ") + ", and keep it in /etc/sysctl.d"
}
