package main

import (
	"crypto/rand"
	"testing"
)

func socketAddress(*testing.T) string { return `\\.\pipe\valetkey-test.` + rand.Text() }
