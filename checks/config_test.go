package checks

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyvip/anyvip/pkg/vip"
)

// valid is a check with nothing wrong.
func valid(k Kind) Config {
	return Config{Name: "web", Kind: k, Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 2, ErrorHold: time.Minute}
}

func TestValidate(t *testing.T) {
	tcp := &TCP{Address: "127.0.0.1:1"}
	with := func(change func(*Config)) Config {
		c := valid(tcp)
		change(&c)
		return c
	}
	get := func(h HTTP) Config {
		if h.URL == "" {
			h.URL = "http://[::1]:8080/healthz"
		}
		return valid(&h)
	}
	for _, tc := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"a tcp check", valid(&TCP{Address: "[::1]:5432", Send: "x", Expect: "y"}), nil},
		{"an http check", get(HTTP{Method: "POST", Headers: []Header{{"Host", "a"}, {"X-B", "ü\t1"}}, Status: []int{200, 599}, Body: "ok"}), nil},
		{"an https check", valid(&HTTP{URL: "https://web", TLS: &TLS{CAFile: "/etc/ca.pem", ServerName: "x"}}), nil},
		{"an exec check", valid(&Exec{Command: []string{"/bin/true", "", "a b"}, Env: []string{"A=", "B=1=2"}}), nil},
		{"a dns check", valid(&DNS{Server: "[::1]:5353", Name: "_sip._tcp.example.net.", Type: "SRV", Expect: []string{"10 5 5060 sip.example.net"}, TCP: true}), nil},
		{"a dns check of addresses", valid(&DNS{Server: "ns", Name: ".", Expect: []string{"192.0.2.1"}}), nil},
		{"a file check", valid(&File{Path: "/run/ready", Exists: true, MaxAge: time.Nanosecond, Contains: "ok"}), nil},
		{"a marker", valid(&File{Path: "/run/maintenance"}), nil},
		{"a postgres check", valid(&Postgres{Address: "[::1]:5432", User: "anyvip", Database: "app", PasswordFile: "/etc/p", TLS: &TLS{CAFile: "/etc/ca.pem"},
			Role: "replica", MaxLag: time.Second, Query: "SELECT 1"}), nil},
		{"a postgres check by a socket", valid(&Postgres{Address: "/var/run/postgresql", User: "anyvip", Role: "any"}), nil},
		{"an interval under the default fast interval", with(func(c *Config) { c.Interval = 100 * time.Millisecond }), nil},
		{"a timeout over the interval", with(func(c *Config) { c.Timeout = time.Minute }), nil},
		{"the smallest values", with(func(c *Config) {
			c.Interval, c.FastInterval, c.Timeout, c.Rise, c.Fall, c.ErrorHold = 10*time.Millisecond, 10*time.Millisecond, time.Millisecond, 1, 1, 0
		}), nil},
		{"the largest values", with(func(c *Config) {
			c.Interval, c.FastInterval, c.Timeout, c.Rise, c.Fall, c.ErrorHold = time.Hour, time.Hour, time.Minute, 100, 100, 24*time.Hour
		}), nil},

		{"nothing at all", Config{}, []string{
			"name: is missing",
			": says not what to ask (allowed: exactly one of dns, exec, file, heartbeat, http, postgres, tcp)",
			"interval: 0s: is out of range (allowed: 10ms to 1h)",
			"timeout: 0s: is out of range (allowed: 1ms to 1m)",
			"rise: 0: is out of range (allowed: 1 to 100)",
			"fall: 0: is out of range (allowed: 1 to 100)",
		}},
		{"values out of range", with(func(c *Config) {
			c.Interval, c.FastInterval, c.Timeout, c.Rise, c.Fall, c.ErrorHold = 2*time.Hour, time.Millisecond, 2*time.Minute, 101, -1, -time.Second
		}), []string{
			"interval: 2h0m0s: is out of range (allowed: 10ms to 1h)",
			"fast_interval: 1ms: is out of range (allowed: 10ms to interval, which is 2h0m0s)",
			"timeout: 2m0s: is out of range (allowed: 1ms to 1m)",
			"rise: 101: is out of range (allowed: 1 to 100)",
			"fall: -1: is out of range (allowed: 1 to 100)",
			"error_hold: -1s: is out of range (allowed: 0s to 24h)",
		}},
		{"a heartbeat that watches", with(func(c *Config) { c.Kind, c.Watch = &Heartbeat{TTL: time.Second}, &Watch{PIDFile: "/run/app.pid"} }), []string{
			"watch: wakes nobody: a heartbeat does not ask, the application reports"}},
		{"a fast interval over the interval", with(func(c *Config) { c.FastInterval = 2 * time.Second }), []string{
			"fast_interval: 2s: is out of range (allowed: 10ms to interval, which is 1s)"}},

		{"an address without a port", valid(&TCP{Address: "127.0.0.1"}), []string{
			"tcp.address: 127.0.0.1: is no address (allowed: HOST:PORT, like 127.0.0.1:5432 or [::1]:5432)"}},
		{"no address", valid(&TCP{}), []string{"tcp.address: is no address (allowed: HOST:PORT, like 127.0.0.1:5432 or [::1]:5432)"}},
		{"port 0", valid(&TCP{Address: "h:0"}), []string{"tcp.address: h:0: has no usable port (allowed: 1 to 65535)"}},
		{"a port by name", valid(&TCP{Address: "h:http"}), []string{"tcp.address: h:http: has no usable port (allowed: 1 to 65535)"}},
		{"an expectation that fits nowhere", valid(&TCP{Address: "h:1", Expect: strings.Repeat("x", 4097)}), []string{
			"tcp.expect: is too long: 4097 bytes (allowed: at most 4096)"}},

		{"no URL", valid(&HTTP{}), []string{"http.url: is missing (allowed: http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH)"}},
		{"an unreadable URL", get(HTTP{URL: "http://[::1"}), []string{
			"http.url: http://[::1: is no URL (allowed: http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH)"}},
		{"another scheme", get(HTTP{URL: "ftp://h/"}), []string{
			"http.url: ftp://h/: has another scheme than http or https (allowed: http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH)"}},
		{"no host", get(HTTP{URL: "http:///x"}), []string{
			"http.url: http:///x: names no host (allowed: http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH)"}},
		{"a port out of range", get(HTTP{URL: "http://h:70000/"}), []string{"http.url: h:70000: has no usable port (allowed: 1 to 65535)"}},
		{"a password is not repeated", get(HTTP{URL: "http://me:secret@h/"}), []string{
			"http.url: http://me:xxxxx@h/: carries a user name, which is shown wherever the URL is (allowed: an Authorization header)"}},
		{"many http mistakes", get(HTTP{
			Method:  "get",
			Headers: []Header{{"", "x"}, {"X Y", "a\r\nb"}, {"content-length", "1"}},
			Status:  []int{200, 100, 600},
			TLS:     &TLS{CAFile: "ca.pem", InsecureSkipVerify: true},
		}), []string{
			"http.method: get: is not supported (allowed: GET, HEAD, OPTIONS, POST)",
			"http.headers[0].name: is missing",
			"http.headers[1].name: \"X Y\": is no header name (allowed: letters, digits and !#$%&'*+-.^_`|~)",
			`http.headers[1].value: "a\r\nb": has control characters`,
			"http.headers[2].name: content-length: is set by the probe itself",
			"http.status[1]: 100: is out of range (allowed: 200 to 599)",
			"http.status[2]: 600: is out of range (allowed: 200 to 599)",
			"http.tls: has no meaning for an http URL (allowed: only with https://)",
			"http.tls.ca_file: ca.pem: is not an absolute path",
			"http.tls.ca_file: ca.pem: has no effect with insecure_skip_verify",
		}},
		{"content of an answer to HEAD", get(HTTP{Method: "HEAD", Body: "ok"}), []string{
			"http.body: ok: can never appear: an answer to HEAD has no content"}},

		{"no command", valid(&Exec{}), []string{"exec.command: is missing (allowed: [PROGRAM, ARGUMENT, ...])"}},
		{"many exec mistakes", valid(&Exec{Command: []string{"check.sh", "a\x00"}, Env: []string{"A", "=1", "OK=1", "B=\x00"}}), []string{
			"exec.command[0]: check.sh: is not an absolute path",
			`exec.command[1]: "a\x00": has a zero byte`,
			`exec.env[0]: "A": is no assignment (allowed: NAME=VALUE)`,
			`exec.env[1]: "=1": is no assignment (allowed: NAME=VALUE)`,
			`exec.env[3]: "B=\x00": is no assignment (allowed: NAME=VALUE)`,
		}},

		{"nothing to ask a DNS server", valid(&DNS{}), []string{"dns.server: is missing (allowed: HOST or HOST:PORT)", "dns.name: is no domain name"}},
		{"many dns mistakes", valid(&DNS{Server: "h:0", Name: "a..b", Type: "ANY", Expect: []string{strings.Repeat("x", 4097)}}), []string{
			"dns.server: h:0: has no usable port (allowed: 1 to 65535)",
			"dns.name: a..b: is no domain name",
			"dns.type: ANY: is not supported (allowed: A, AAAA, CAA, CNAME, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SVCB, TLSA, TXT)",
			"dns.expect[0]: is too long: 4097 bytes (allowed: at most 4096)",
		}},
		{"a dns server without a host", valid(&DNS{Server: ":53", Name: "a"}), []string{
			"dns.server: :53: is no address (allowed: HOST:PORT, like 127.0.0.1:5432 or [::1]:5432)"}},
		{"an A record that is none", valid(&DNS{Server: "h", Name: "a", Expect: []string{"192.0.2.1", "192.0.2.1.", "::1"}}), []string{
			"dns.expect[1]: 192.0.2.1.: is no IPv4 address, as every A record is",
			"dns.expect[2]: ::1: is no IPv4 address, as every A record is",
		}},
		{"an AAAA record that is none", valid(&DNS{Server: "h", Name: "a", Type: "AAAA", Expect: []string{"192.0.2.1", "fe80::1%eth0"}}), []string{
			"dns.expect[0]: 192.0.2.1: is no IPv6 address, as every AAAA record is",
			"dns.expect[1]: fe80::1%eth0: is no IPv6 address, as every AAAA record is",
		}},

		{"no file", valid(&File{Exists: true}), []string{"file.path: is missing (allowed: an absolute path)"}},
		{"many file mistakes", valid(&File{Path: "run\x00", MaxAge: -time.Second, Contains: strings.Repeat("x", 4097), Exists: true}), []string{
			"file.path: run\x00: is not an absolute path",
			`file.path: "run\x00": has a zero byte`,
			"file.max_age: -1s: is out of range (allowed: 0s to 87600h)",
			"file.contains: is too long: 4097 bytes (allowed: at most 4096)",
		}},
		{"a marker with an age", valid(&File{Path: "/run/maintenance", MaxAge: time.Second, Contains: "x"}), []string{
			"file.max_age: 1s: has no meaning for a file that must not be there",
			"file.contains: x: has no meaning for a file that must not be there",
		}},

		{"no database server", valid(&Postgres{}), []string{
			"postgres.address: is no address (allowed: HOST:PORT, like 127.0.0.1:5432 or [::1]:5432, or an absolute path)",
			"postgres.user: is missing",
		}},
		{"many postgres mistakes", valid(&Postgres{Address: "db", User: "a\x00", Database: "b\x00", PasswordFile: "p", TLS: &TLS{CAFile: "ca.pem"},
			Role: "master", MaxLag: 25 * time.Hour, Query: strings.Repeat("x", 4096) + "\x00"}), []string{
			"postgres.address: db: is no address (allowed: HOST:PORT, like 127.0.0.1:5432 or [::1]:5432, or an absolute path)",
			`postgres.user: "a\x00": has a zero byte`,
			`postgres.database: "b\x00": has a zero byte`,
			"postgres.query: has a zero byte",
			"postgres.query: is too long: 4097 bytes (allowed: at most 4096)",
			"postgres.password_file: p: is not an absolute path",
			"postgres.tls.ca_file: ca.pem: is not an absolute path",
			"postgres.role: master: is no role (allowed: any, primary, replica)",
			"postgres.max_lag: 25h0m0s: is out of range (allowed: 0s to 24h)",
			"postgres.max_lag: 25h0m0s: has a meaning for a replica only (allowed: only with role: replica)",
		}},
		{"TLS on a unix socket", valid(&Postgres{Address: "/" + strings.Repeat("x", 107), User: "a\x00", TLS: &TLS{}}), []string{
			"postgres.address: /" + strings.Repeat("x", 107) + ": is too long for a unix socket (allowed: 107 bytes with .s.PGSQL.5432)",
			"postgres.tls: has no meaning for a unix socket (allowed: only with HOST:PORT)",
			`postgres.user: "a\x00": has a zero byte`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, p := range tc.config.Validate() {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEvery(t *testing.T) {
	for _, tc := range []struct {
		interval, fast, want time.Duration
	}{
		{time.Second, 0, 200 * time.Millisecond},
		{100 * time.Millisecond, 0, 100 * time.Millisecond},
		{time.Second, 500 * time.Millisecond, 500 * time.Millisecond},
	} {
		c := Config{Interval: tc.interval, FastInterval: tc.fast}
		if c.Every(false) != tc.interval || c.Every(true) != tc.want {
			t.Errorf("%s and %s: every %s, fast %s; want %s", tc.interval, tc.fast, c.Every(false), c.Every(true), tc.want)
		}
	}
}

func TestEqual(t *testing.T) {
	full := func() Config {
		c := valid(&HTTP{URL: "https://h/", Status: []int{200}, Headers: []Header{{"A", "1"}}, TLS: &TLS{CAFile: "/ca"}})
		return c
	}
	if !full().Equal(full()) {
		t.Error("two of the same are not Equal")
	}
	for name, change := range map[string]func(*Config){
		"name":      func(c *Config) { c.Name = "x" },
		"interval":  func(c *Config) { c.Interval++ },
		"scope":     func(c *Config) { c.Scope = vip.ScopeAdvisory },
		"on_error":  func(c *Config) { c.OnError = vip.OnErrorFail },
		"no kind":   func(c *Config) { c.Kind = nil },
		"kind":      func(c *Config) { c.Kind = &TCP{} },
		"url":       func(c *Config) { c.Kind.(*HTTP).URL = "http://x/" },
		"status":    func(c *Config) { c.Kind.(*HTTP).Status[0] = 204 },
		"header":    func(c *Config) { c.Kind.(*HTTP).Headers[0].Value = "2" },
		"deep down": func(c *Config) { c.Kind.(*HTTP).TLS.CAFile = "/other" },
	} {
		c := full()
		change(&c)
		if c.Equal(full()) || full().Equal(c) {
			t.Errorf("%s: Equal although changed", name)
		}
	}
}

func TestKindsDescribeThemselves(t *testing.T) {
	for name, make := range Kinds() {
		if got := valid(make()).KindName(); got != name {
			t.Errorf("kind %s calls itself %s", name, got)
		}
		if make() == make() {
			t.Errorf("kind %s: the table gives the same value twice", name)
		}
	}
	targets := map[string]string{
		"http://h/":                  valid(&HTTP{URL: "http://h/"}).Target(),
		"h:1":                        valid(&TCP{Address: "h:1"}).Target(),
		"w.example AAAA @ns:5353":    valid(&DNS{Server: "ns:5353", Name: "w.example", Type: "AAAA"}).Target(),
		"w.example A @ns":            valid(&DNS{Server: "ns", Name: "w.example"}).Target(),
		"/run/ready":                 valid(&File{Path: "/run/ready"}).Target(),
		"db:5432 postgres as anyvip": valid(&Postgres{Address: "db:5432", User: "anyvip"}).Target(),
		"/run/pg app as anyvip":      valid(&Postgres{Address: "/run/pg", User: "anyvip", Database: "app", Query: "q"}).Target(),
		"/bin/x a":                   valid(&Exec{Command: []string{"/bin/x", "a"}}).Target(),
		"/bin/x b":                   valid(&Exec{Command: []string{"/bin/x\n", "b"}}).Target(),
		"":                           Config{}.Target() + Config{}.KindName(),
	}
	for _, want := range slices.Sorted(maps.Keys(targets)) {
		if got := strings.Join(strings.Fields(targets[want]), " "); got != want {
			t.Errorf("target %q, want %q", got, want)
		}
	}
}
