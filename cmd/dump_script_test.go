package cmd

import "testing"

func compareScript(t *testing.T, file string) { t.Helper() }
