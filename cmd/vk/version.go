package main

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = ""

type versionVerb struct {
	*program
	json bool
}

func newVersion(p *program) *cobra.Command {
	v := &versionVerb{program: p}
	c := verb("version", "print the version of vk", "Prints the version of vk.", 0, 0, v.run)
	jsonFlag(c, &v.json)
	return c
}

func (v *versionVerb) run(context.Context, []string) error {
	if v.json {
		return v.printJSON(struct {
			Version string `json:"version"`
		}{built()})
	}
	return v.print("vk " + built() + "\n")
}

// built is the version of this vk: of a release, else as far as Go knows.
func built() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
