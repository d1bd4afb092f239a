package main

import (
	"os"

	"github.com/valetkey/valetkey/hosts"
)

// thisMachine is where vk looks for hosts.
func (p *program) thisMachine() (hosts.Env, error) {
	vk, err := thisProgram()
	if err != nil {
		return hosts.Env{}, err
	}
	socket, err := p.address()
	if err != nil {
		return hosts.Env{}, err
	}
	return hosts.ThisMachine(os.Getenv, vk, socket)
}

// thisProgram is the absolute path of vk: the one in PATH if that is this program, because it stays the same when a
// package manager puts a new version in a folder of its own.
func thisProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	named := hosts.Which("vk")
	a, errA := os.Stat(self)
	b, errB := os.Stat(named)
	if named != "" && errA == nil && errB == nil && os.SameFile(a, b) {
		return named, nil
	}
	return self, nil
}
