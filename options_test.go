//go:build unix

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args  []string
		err   string // "" means none
		out   string // what is printed, and then nothing is started
		check func(*options) bool
	}{
		{nil, "", "", func(o *options) bool {
			return !o.headless && o.keystore == "keychain" && o.service == "valetkey" && o.browser == nil
		}},
		{[]string{"--headless", "--policy", "p.json"}, "", "", func(o *options) bool { return o.headless && o.policy == "p.json" }},
		{[]string{"--browser", `firefox -P "my profile" --new-tab`}, "", "", func(o *options) bool {
			return slices.Equal(o.browser, []string{"firefox", "-P", "my profile", "--new-tab"})
		}},
		{[]string{"--browser", "print"}, "", "", func(o *options) bool { return slices.Equal(o.browser, []string{"print"}) }},
		{[]string{"--browser", "device"}, "", "", func(o *options) bool {
			return o.showsPages() && o.browsesBy(browserDevice) && !o.browsesBy(browserPrint)
		}},
		{[]string{"--browser", "device --new-tab"}, "", "", func(o *options) bool { return !o.showsPages() }},
		{[]string{"--browser", `"unfinished`}, "cannot be split", "", nil},
		{[]string{"--browser", `x $(touch /tmp/never)`}, "cannot be split", "", nil},
		{[]string{"--keystore", "file"}, "must be keychain or memory", "", nil},
		{[]string{"--keychain-service", "../x"}, "small letters", "", nil},
		{[]string{"--client-metadata-url", "http://x.example/c.json"}, "https", "", nil},
		{[]string{"--client-metadata-url", "https://x.example/"}, "with a path", "", nil},
		{[]string{"--client-metadata-url", "https://x.example/a/../c.json"}, "with a path", "", nil},
		{[]string{"--client-metadata-url", "https://x.example/%2e%2e/c.json"}, "with a path", "", nil},
		{[]string{"--client-metadata-url", "https://x.example/c.json#a"}, "fragment", "", nil},
		{[]string{"--client-metadata-url", "https://x.example/c.json?v=1"}, "query", "", nil},
		{[]string{"--client-metadata-url", "https://me@x.example/c.json"}, "with a path", "", nil},
		{[]string{"--client-metadata-url", "https:c.json"}, "with a path", "", nil},
		{[]string{"--client-metadata-url", "https://x.example:8443/c.json"}, "", "", func(o *options) bool { return o.clientMetadataURL != "" }},
		{[]string{"--client-metadata-url", "https://x.example/c.json"}, "", "", func(o *options) bool { return o.clientMetadataURL != "" }},
		{[]string{"token"}, "vk", "", nil},
		{[]string{"--background"}, "", "", func(o *options) bool { return o.background }},
		{[]string{"--background", "--headless"}, "needs windows", "", nil},
		{[]string{"--nonsense"}, "--help", "", nil},
		{[]string{"--help"}, "", "--headless", nil},
		{[]string{"-h"}, "", "--policy FILE", nil},
		{[]string{"--version"}, "", "valetkey ", nil},
	} {
		var out bytes.Buffer
		o, err := parse(test.args, &out)
		switch {
		case test.err != "" && (err == nil || !strings.Contains(say(err), test.err)):
			t.Errorf("%q: err = %v, want %q", test.args, err, test.err)
		case test.err == "" && err != nil:
			t.Errorf("%q: %v", test.args, err)
		case test.out != "" && (o != nil || !strings.Contains(out.String(), test.out)):
			t.Errorf("%q printed %q", test.args, out.String())
		case test.check != nil && !test.check(o):
			t.Errorf("%q: %+v", test.args, o)
		}
	}
}
