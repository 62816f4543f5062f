# Completion of the command gli in bash and zsh: source completions/gli.sh
#
# It runs nothing and reads no file but those that it completes. The lists between the marks are written by 'make docs'.

# -- lists: begin
_gli_commands="fit validate test check report benchmark audit search erase export purge"
_gli_configs="advanced_neg_grad_mucac advanced_neg_grad_mufac advanced_neg_grad_plus_mucac advanced_neg_grad_plus_mufac
advanced_neg_grad_plus_synthetic advanced_neg_grad_synthetic advanced_neg_grad_tuned_mufac audit/mufac
audit/synthetic audit/synthetic_answers audit/synthetic_reference audit/synthetic_strong audit/synthetic_tenth
bad_teaching_mucac bad_teaching_mufac bad_teaching_synthetic benchmark/mucac benchmark/mufac
benchmark/mufac_64 benchmark/mufac_audit benchmark/mufac_memorised benchmark/mufac_short benchmark/synthetic
benchmark/synthetic_planned benchmark/synthetic_strong cfk_mucac cfk_mufac cfk_synthetic ct_mucac ct_mufac
ct_synthetic data/mucac data/mufac data/synthetic euk_mucac euk_mufac euk_synthetic fine_tune_mucac
fine_tune_mufac fine_tune_synthetic gli_mucac gli_mufac gli_paper_mucac gli_paper_mufac gli_paper_synthetic
gli_synthetic gli_tuned_mufac l1_sparse_mucac l1_sparse_mufac l1_sparse_synthetic li_mucac li_mufac
li_synthetic li_tuned_mufac lo_tus_mucac lo_tus_mufac lo_tus_synthetic method/advanced_neg_grad_plus
method/bad_teaching method/euk method/gli method/gli_paper method/li method/lo_tus method/original
method/out_of_fold method/retrained method/scrub_paper method/served msg_mucac msg_mufac msg_synthetic
neg_grad_mucac neg_grad_mufac neg_grad_synthetic noisy_fine_tune_mucac noisy_fine_tune_mufac
noisy_fine_tune_synthetic original_mucac original_mufac original_synthetic out_of_fold_mucac out_of_fold_mufac
out_of_fold_synthetic random_labels_mucac random_labels_mufac random_labels_synthetic retrain_briefly_mucac
retrain_briefly_mufac retrain_briefly_synthetic retrained_mucac retrained_mufac retrained_synthetic
sal_un_mucac sal_un_mufac sal_un_synthetic sal_un_tuned_mufac scrub_mucac scrub_mufac scrub_paper_mucac
scrub_paper_mufac scrub_paper_synthetic scrub_synthetic scrub_tuned_mufac served_mucac served_mufac
served_synthetic sfron_mucac sfron_mufac sfron_synthetic ssd_mucac ssd_mufac ssd_synthetic
transpose_distil_mucac transpose_distil_mufac transpose_distil_synthetic transpose_distil_tuned_mufac
tuned/advanced_neg_grad_plus_synthetic tuned/advanced_neg_grad_synthetic tuned/advanced_neg_grad_tuned_mufac
tuned/bad_teaching_synthetic tuned/cfk_synthetic tuned/ct_synthetic tuned/fine_tune_synthetic
tuned/gli_tuned_mufac tuned/li_mucac tuned/li_synthetic tuned/li_tuned_mufac tuned/lo_tus_synthetic
tuned/msg_synthetic tuned/neg_grad_synthetic tuned/noisy_fine_tune_synthetic tuned/sal_un_tuned_mufac
tuned/scrub_synthetic tuned/scrub_tuned_mufac tuned/transpose_distil_synthetic
tuned/transpose_distil_tuned_mufac tuned/unsir_synthetic unsir_mucac unsir_mufac unsir_synthetic"
_gli_methods="AdvancedNegGrad BadTeaching CFk CT EUk FineTune GLI L1Sparse LI LoTUS MSG NegGrad NoisyFineTune Original
OutOfFold RandomLabels RetrainBriefly Retrained SCRUB SFRon SSD SalUn Served TransposeDistil UNSIR"
_gli_data="FaceTable MUCAC MUFAC SyntheticFaces"

# Options of a command that has a parser of its own.
_gli_own_options() {
    case "$1" in
        check) echo "--json --steps --help" ;;
        report) echo "--output --select --resamples --audit --compare --help" ;;
        benchmark) echo "--config --methods --seeds --backbones --jobs --cluster --set --output --originals --select --audit --help" ;;
        audit) echo "--config --methods --budget --references --answers-only --chosen-on --jobs --cluster --output --margin --help" ;;
        search) echo "--try --range --choose --trials --seed --no-prune --objective --max-utility-drop --output --write --jobs --cluster --help" ;;
        erase) echo "--help" ;;
        export) echo "--formats --output --name --image-size --backbone --outputs --normalize --help" ;;
        purge) echo "--names --table --root --file --identity --keep --receipt --dry-run --help" ;;
    esac
}
# -- lists: end

_gli_settings="--config --seed_everything --ckpt_path --originals --data --data.root --data.csv --data.split
--data.split_seed --data.forget_identities --data.forget_share --data.image_size --data.batch_size --data.cache_dir --model
--model.original --model.backbone --model.pretrained --model.lr --model.optimizer --trainer.accelerator --trainer.devices
--trainer.precision --trainer.max_epochs --trainer.max_steps --trainer.val_check_interval --trainer.default_root_dir
--audit.keep_losses --early_stopping.patience --checkpoint.monitor"

# Words that can follow the option $2 of the command $1; empty for files.
_gli_values() {
    local name
    case "$1 $2" in
        "benchmark --config") for name in $_gli_configs; do case $name in benchmark/*) echo "$name" ;; esac; done ;;
        "audit --config") for name in $_gli_configs; do case $name in audit/*) echo "$name" ;; esac; done ;;
        *" --config" | *" -c") for name in $_gli_configs; do case $name in audit/* | benchmark/*) ;; *) echo "$name" ;; esac; done ;;
        *" --model" | *" --methods" | *" --model.help") echo "$_gli_methods" ;;
        *" --data" | *" --data.help") echo "$_gli_data" ;;
        *" --data.split") echo "published identity given" ;;
        *" --ckpt_path") echo "last best" ;;
    esac
}

# Options of the command $1.
_gli_options_of() {
    case "$1" in
        fit | validate | test) echo "$_gli_settings --help --print_config" ;;
        check | search) echo "$(_gli_own_options "$1") $_gli_settings" ;;
        *) _gli_own_options "$1" ;;
    esac
}

_gli() {
    # In zsh, arrays and the splitting of words as in bash, until the function returns.
    [ -z "${ZSH_VERSION:-}" ] || setopt local_options ksh_arrays sh_word_split
    local word previous command words
    word="${COMP_WORDS[COMP_CWORD]}"
    previous="${COMP_WORDS[COMP_CWORD - 1]}"
    command="${COMP_WORDS[1]}"
    # Bash splits --config=name into three words.
    if [ "$word" = "=" ]; then
        word=""
    elif [ "$previous" = "=" ]; then
        previous="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="$_gli_commands --help --version"
    else
        case "$word" in
            -*) words="$(_gli_options_of "$command")" ;;
            *) words="$(_gli_values "$command" "$previous")" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    # A value may also be a file, such as a configuration of one's own.
    case "$word" in
        -*) ;;
        *) [ "$COMP_CWORD" -gt 1 ] && COMPREPLY+=($(compgen -f -- "$word")) ;;
    esac
    return 0
}

if [ -n "${ZSH_VERSION:-}" ]; then
    type compdef >/dev/null 2>&1 || { autoload -U compinit && compinit; }
    autoload -U +X bashcompinit && bashcompinit
fi
complete -o default -F _gli gli
